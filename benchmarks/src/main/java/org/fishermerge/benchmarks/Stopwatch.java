package org.fishermerge.benchmarks;

import java.util.Arrays;

/**
 * Times pieces of work against each other, in turn, so that noise of the machine hits all alike.
 */
final class Stopwatch {
  private Stopwatch() {}

  /**
   * The shortest time of each piece of work in seconds, over rounds that run every piece once. The
   * first round warms up and does not count.
   */
  static double[] best(int rounds, Runnable... work) {
    double[] best = new double[work.length];
    Arrays.fill(best, Double.POSITIVE_INFINITY);
    for (int round = 0; round <= rounds; round++) {
      for (int i = 0; i < work.length; i++) {
        long start = System.nanoTime();
        work[i].run();
        double seconds = (System.nanoTime() - start) / 1e9;
        if (round > 0) {
          best[i] = Math.min(best[i], seconds);
        }
      }
    }
    return best;
  }
}
