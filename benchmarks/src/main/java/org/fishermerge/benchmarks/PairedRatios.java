package org.fishermerge.benchmarks;

import java.util.Arrays;
import java.util.Random;

/**
 * What blocks of measurements say about one benchmark. In each block the reference is measured
 * twice and the present once, close together in time, so that what slows the machine for a while
 * slows all three: a stored number would carry that noise, a ratio within a block does not.
 *
 * @param change the present over the reference: the median of the blocks' ratios, with its interval
 * @param twice the reference over itself, in the same way: how much of {@code change} is noise
 */
record PairedRatios(Interval change, Interval twice) {
  /** Resamples of a bootstrap; with more, the bounds move by less than they are printed to. */
  private static final int RESAMPLES = 4000;

  /** What is to be said. */
  enum Verdict {
    /** Not slower by more than is tolerated. */
    HOLDS,
    /** Slower by more than is tolerated, where the reference is not slower than itself. */
    SLOWER,
    /** The reference differs from itself by more than is tolerated: nothing is shown. */
    UNDECIDED
  }

  /** A ratio, and the bounds of its 95 % interval. */
  record Interval(double low, double median, double high) {
    boolean liesWithin(double tolerance) {
      return low >= 1 - tolerance && high <= 1 + tolerance;
    }
  }

  /**
   * Medians of the ratios with percentile bootstrap intervals (Efron and Tibshirani 1993, section
   * 13.3) over blocks.
   *
   * @param reference what was measured of the reference first and second in each block, [blocks][2]
   * @param present what was measured of the present in each block
   * @param seed of the resampling
   */
  static PairedRatios of(double[][] reference, double[] present, long seed) {
    if (reference.length != present.length || present.length == 0) {
      throw new IllegalArgumentException(
          "%d blocks of the reference, %d of the present"
              .formatted(reference.length, present.length));
    }
    double[] change = new double[present.length];
    double[] twice = new double[present.length];
    for (int b = 0; b < present.length; b++) {
      double first = Math.log(reference[b][0]);
      double second = Math.log(reference[b][1]);
      change[b] = Math.log(present[b]) - (first + second) / 2;
      twice[b] = second - first;
    }
    Random random = new Random(seed);
    return new PairedRatios(interval(change, random), interval(twice, random));
  }

  private static Interval interval(double[] logs, Random random) {
    double[] medians = new double[RESAMPLES];
    double[] drawn = new double[logs.length];
    for (int r = 0; r < RESAMPLES; r++) {
      for (int i = 0; i < drawn.length; i++) {
        drawn[i] = logs[random.nextInt(logs.length)];
      }
      medians[r] = median(drawn);
    }
    Arrays.sort(medians);
    return new Interval(
        Math.exp(medians[(int) (0.025 * RESAMPLES)]),
        Math.exp(median(logs)),
        Math.exp(medians[(int) (0.975 * RESAMPLES)]));
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /**
   * Noise never passes for a result. An interval that ends below what is tolerated holds however
   * wide it is, for the noise is in it; otherwise nothing is decided where the reference differs
   * from itself.
   *
   * @param tolerance how much slower the present may be, as a fraction
   */
  Verdict verdict(double tolerance) {
    if (change.high() <= 1 + tolerance) {
      return Verdict.HOLDS;
    }
    if (!twice.liesWithin(tolerance)) {
      return Verdict.UNDECIDED;
    }
    return change.low() > 1 + tolerance ? Verdict.SLOWER : Verdict.HOLDS;
  }
}
