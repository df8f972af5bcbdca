package org.fishermerge.merge;

import org.fishermerge.kernels.PairSums;

/**
 * How alike two Fishers f and g are, from 0 (no parameter matters to both) to 1 (proportional).
 * Neither metric depends on their scales.
 */
public enum SimilarityMetric {
  /** {@code sum_j f_j g_j / (|f| |g|)}: decided by the largest values. */
  COSINE {
    @Override
    double of(PairSums sums, int p, int q) {
      return sums.product(p, q) / (Math.sqrt(sums.product(p, p)) * Math.sqrt(sums.product(q, q)));
    }
  },

  /**
   * {@code sum_j sqrt(f_j g_j)} of Fishers divided by their traces: the overlap 1 - d^2 of
   * Kirkpatrick et al., <em>Overcoming catastrophic forgetting in neural networks</em> (2017),
   * supporting information, where d^2 = tr(F + G - 2 (F G)^(1/2)) / 2 is the Fréchet distance of
   * the normalised Fishers.
   */
  OVERLAP {
    @Override
    double of(PairSums sums, int p, int q) {
      return sums.root(p, q) / (Math.sqrt(sums.root(p, p)) * Math.sqrt(sums.root(q, q)));
    }
  };

  abstract double of(PairSums sums, int p, int q);
}
