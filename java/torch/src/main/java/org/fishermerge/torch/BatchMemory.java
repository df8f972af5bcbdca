package org.fishermerge.torch;

/**
 * The memory that a batch takes besides weights and Fisher sums, as {@link FisherEstimator#measure}
 * found it. A pair is an example and one of its probes.
 *
 * @param perExample bytes of saved activations and label cotangents
 * @param perPair bytes on the way back, the kernels' workspace among them
 * @param probes of an example, at most
 * @param pairsTogether pairs that may go back together, unless a batch has more examples
 */
public record BatchMemory(long perExample, long perPair, int probes, long pairsTogether) {
  /** Bytes of a batch of that many examples. */
  public long bytes(int examples) {
    long pairs = Math.min((long) examples * probes, Math.max(examples, pairsTogether));
    return examples * perExample + pairs * perPair;
  }
}
