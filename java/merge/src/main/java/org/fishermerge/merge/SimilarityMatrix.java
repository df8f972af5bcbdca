package org.fishermerge.merge;

import org.fishermerge.kernels.PairSums;

/** The similarities of all pairs of Fishers over one part of a model. */
public final class SimilarityMatrix {
  private final String name;
  private final PairSums sums;
  private int tensors;
  private long values;

  SimilarityMatrix(String name, int fishers) {
    this.name = name;
    this.sums = new PairSums(fishers);
  }

  void add(PairSums ofTensor, long elements) {
    sums.add(ofTensor);
    tensors++;
    values += elements;
  }

  /** A layer's name; empty for the whole model. */
  public String name() {
    return name;
  }

  /** Tensors compared. */
  public int tensors() {
    return tensors;
  }

  /** Values compared of each Fisher. */
  public long values() {
    return values;
  }

  /** Whether a Fisher is zero all over this part, so that nothing is similar to it. */
  public boolean isZero(int fisher) {
    return sums.root(fisher, fisher) == 0;
  }

  /**
   * How alike two Fishers are over this part of the model.
   *
   * @return 0 to 1; 1 of a Fisher with itself; NaN where one of them is zero
   */
  public double get(SimilarityMetric metric, int p, int q) {
    if (isZero(p) || isZero(q)) {
      return Double.NaN;
    }
    // Rounding may lead a few units of the last place beyond 1.
    return p == q ? 1 : Math.min(1, metric.of(sums, p, q));
  }
}
