package org.fishermerge.torch;

import org.fishermerge.torch.objective.Logits;

/**
 * Accuracy and cross-entropy of a classifier over batches. The loss is FusionBench's: the mean over
 * batches of each batch's mean, so that a short last batch counts as much as a full one.
 */
public final class Accuracy {
  /** Between minus and plus this lies 95 % of the normal distribution. */
  private static final double NORMAL_QUANTILE = 1.959963984540054;

  private long correct;
  private long examples;
  private long batches;
  private double batchLosses;

  /**
   * Scores one batch.
   *
   * @param logits row-major [examples, K]
   * @param labels the true class of each example, at least one
   */
  public void add(float[] logits, long[] labels) {
    int classes = logits.length / labels.length;
    double loss = 0;
    for (int b = 0; b < labels.length; b++) {
      Logits.requireLabel(labels[b], classes, examples + b);
      for (int c = 0; c < classes; c++) {
        Logits.requireFinite(logits[b * classes + c], c, examples + b);
      }
      int best = 0;
      for (int c = 1; c < classes; c++) {
        if (logits[b * classes + c] > logits[b * classes + best]) {
          best = c;
        }
      }
      if (best == labels[b]) {
        correct++;
      }
      double max = logits[b * classes + best];
      double sum = 0;
      for (int c = 0; c < classes; c++) {
        sum += Math.exp(logits[b * classes + c] - max);
      }
      loss += Math.log(sum) + max - logits[b * classes + (int) labels[b]];
    }
    examples += labels.length;
    batches++;
    batchLosses += loss / labels.length;
  }

  /** Examples scored so far. */
  public long examples() {
    return examples;
  }

  /** Examples whose largest logit is their label's. */
  public long correct() {
    return correct;
  }

  /** Fraction in 0..1; NaN before the first batch. */
  public double accuracy() {
    return (double) correct / examples;
  }

  /** Bounds of a fraction in 0..1. */
  public record Interval(double low, double high) {}

  /**
   * The 95 % confidence interval of the accuracy on examples like these (Wilson 1927): how far from
   * it chance in their choice alone may have led. NaN before the first batch.
   */
  public Interval interval() {
    double n = examples;
    double p = accuracy();
    double z2 = NORMAL_QUANTILE * NORMAL_QUANTILE;
    double center = (p + z2 / (2 * n)) / (1 + z2 / n);
    double reach = NORMAL_QUANTILE / (1 + z2 / n) * Math.sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return new Interval(Math.max(0, center - reach), Math.min(1, center + reach));
  }

  /** Mean over batches of the mean cross-entropy in nats; NaN before the first batch. */
  public double loss() {
    return batchLosses / batches;
  }
}
