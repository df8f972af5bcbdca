package org.fishermerge.merge;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;

/**
 * Spherical linear interpolation of two models, tensor by tensor (Shoemake 1985):
 *
 * <pre>
 * theta = (sin((1 - t) omega) theta_0 + sin(t omega) theta_1) / sin omega
 * </pre>
 *
 * with omega the angle between the two as vectors. Where its cosine is above 0.9995 or below
 * -0.9995 the interpolation is linear, and vectors shorter than 1e-8 count as of length 1, as
 * mergekit and FusionBench have it.
 *
 * @param t from 0, the first model, to 1, the second
 */
public record Slerp(TensorSetting t) implements TensorRule {
  private static final double LINEAR_FROM = 0.9995;
  private static final double SHORTEST = 1e-8;

  @Override
  public String title() {
    return "SLERP";
  }

  @Override
  public Optional<String> settings() {
    return Optional.of("t " + t.text());
  }

  @Override
  public int passes() {
    return 2;
  }

  @Override
  public void checkModels(int models, boolean haveCoefficients) {
    if (models != 2) {
      throw new InputException("SLERP interpolates between two models, and not " + models);
    }
    if (haveCoefficients) {
      throw new InputException(
          "SLERP takes no coefficients: -t says where between the two models the result lies; leave"
              + " --coefficients and --coefficients-file out");
    }
  }

  @Override
  public void checkSettings(Collection<String> tensors, int models) {
    for (String tensor : tensors) {
      double at = t.of(tensor, 1);
      if (!(at >= 0 && at <= 1)) {
        throw new InputException(
            "t of tensor '%s' is %s; it goes from 0, the first model, to 1, the second"
                .formatted(tensor, at));
      }
    }
    t.requireUsed(tensors);
  }

  /** Both models, without a share of the base. */
  @Override
  public ElementwiseRule elementwise() {
    return new Average();
  }

  /**
   * What the two models are multiplied by.
   *
   * @param t where between them
   * @param ab dot products of the two, of each with itself first
   */
  static List<Double> weights(double t, double aa, double ab, double bb) {
    double cosine = ab / length(aa) / length(bb);
    if (Math.abs(cosine) > LINEAR_FROM) {
      return List.of(1 - t, t);
    }
    double omega = Math.acos(cosine);
    return List.of(
        Math.sin((1 - t) * omega) / Math.sin(omega), Math.sin(t * omega) / Math.sin(omega));
  }

  private static double length(double square) {
    double length = Math.sqrt(square);
    return length > SHORTEST ? length : 1;
  }
}
