package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/** Looks at magnitudes of one {@link MagnitudeQuery}; for one thread. */
@FunctionalInterface
interface MagnitudeScan {
  /**
   * How many magnitudes of a range lie where. NaN is counted nowhere.
   *
   * @param atHigh also where high is low
   */
  record Counts(long below, long atLow, long between, long atHigh) {}

  /**
   * Looks at [begin, end).
   *
   * @param found takes those between low and high, in order
   */
  Counts scan(float low, float high, MemorySegment found, long begin, long end);
}
