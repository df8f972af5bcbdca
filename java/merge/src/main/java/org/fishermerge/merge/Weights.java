package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.merge.Merger.Share;
import org.jspecify.annotations.Nullable;

/** Turns coefficients, norms and the minimal Fisher into the weights that the kernel applies. */
final class Weights {
  /**
   * Stands in for a minimal Fisher of 0: far below any F32 or F16 Fisher, yet far enough above the
   * smallest double that products with coefficients and parameters keep their precision.
   */
  private static final double FLOOR = 1e-200;

  private Weights() {}

  /**
   * The kernel's scale and offset per model.
   *
   * @param examples what each file's sums are to be divided by
   * @param norms of the mean Fishers; null without normalisation
   */
  static List<Share> shares(
      double[] coefficients, long[] examples, double @Nullable [] norms, double minimalFisher) {
    double total = 0;
    if (norms != null) {
      for (double norm : norms) {
        total += norm + minimalFisher > 0 ? 1 / (norm + minimalFisher) : 0;
      }
      total = total > 0 ? total : 1;
    }
    List<Share> shares = new ArrayList<>();
    for (int i = 0; i < coefficients.length; i++) {
      double c = coefficients[i];
      if (norms == null || norms[i] + minimalFisher > 0) {
        double scale = norms == null ? c : c / (norms[i] + minimalFisher) / total;
        shares.add(new Share(scale / examples[i], scale * Math.max(minimalFisher, FLOOR)));
      } else {
        // The limit of (0 + eps) / (0 + eps): a Fisher of zeros weighs 1, in units of the others.
        shares.add(new Share(0, c / total));
      }
    }
    return shares;
  }

  /** Each model's coefficient times its normalisation, scaled to sum to 1. */
  static double[] relative(double[] coefficients, double @Nullable [] norms, double minimalFisher) {
    double[] weights = coefficients.clone();
    if (norms != null) {
      // An infinite weight (a norm of zero and no minimal Fisher) leaves nothing to the others.
      boolean infinite = false;
      for (int i = 0; i < weights.length; i++) {
        infinite |= norms[i] + minimalFisher == 0 && coefficients[i] > 0;
      }
      for (int i = 0; i < weights.length; i++) {
        double divisor = norms[i] + minimalFisher;
        if (infinite) {
          weights[i] = divisor == 0 ? coefficients[i] : 0;
        } else {
          weights[i] = coefficients[i] == 0 ? 0 : coefficients[i] / divisor;
        }
      }
    }
    double sum = 0;
    for (double weight : weights) {
      sum += weight;
    }
    for (int i = 0; i < weights.length; i++) {
      weights[i] /= sum;
    }
    return weights;
  }
}
