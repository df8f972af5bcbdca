package org.fishermerge.estimate;

/** What is done with each batch that a {@link ClassifierOnData} classifies. */
public interface LogitsWork {
  /**
   * Works on one batch.
   *
   * @param logits row-major [examples, K]
   * @param labels the examples' own
   */
  void take(float[] logits, long[] labels);
}
