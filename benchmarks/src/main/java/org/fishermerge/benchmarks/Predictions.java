package org.fishermerge.benchmarks;

/**
 * A model's logits on the examples of a task.
 *
 * @param logits row-major [labels.length, classes]
 */
@SuppressWarnings("ArrayRecordComponent") // compared by nobody
record Predictions(float[] logits, long[] labels) {
  int classes() {
    return logits.length / labels.length;
  }

  /** 1 where the largest logit is the label's, 0 elsewhere. */
  double[] correct() {
    double[] correct = new double[labels.length];
    for (int i = 0; i < labels.length; i++) {
      int best = 0;
      for (int k = 1; k < classes(); k++) {
        if (logits[i * classes() + k] > logits[i * classes() + best]) {
          best = k;
        }
      }
      correct[i] = best == labels[i] ? 1 : 0;
    }
    return correct;
  }

  /** The mean over examples of KL(own || this), in nats. */
  double divergenceFrom(Predictions own) {
    double sum = 0;
    for (int i = 0; i < labels.length; i++) {
      double[] q = logProbabilities(i);
      double[] p = own.logProbabilities(i);
      for (int k = 0; k < p.length; k++) {
        sum += Math.exp(p[k]) * (p[k] - q[k]);
      }
    }
    return sum / labels.length;
  }

  private double[] logProbabilities(int example) {
    double[] row = new double[classes()];
    double most = Double.NEGATIVE_INFINITY;
    for (int k = 0; k < row.length; k++) {
      row[k] = logits[example * row.length + k];
      most = Math.max(most, row[k]);
    }
    double sum = 0;
    for (double value : row) {
      sum += Math.exp(value - most);
    }
    double normalizer = most + Math.log(sum);
    for (int k = 0; k < row.length; k++) {
      row[k] -= normalizer;
    }
    return row;
  }
}
