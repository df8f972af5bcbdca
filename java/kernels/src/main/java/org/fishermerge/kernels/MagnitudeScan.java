package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/** Looks at the magnitudes that one {@link MagnitudeQuery} asks about. Thread-safe. */
interface MagnitudeScan {
  /** Neighbours that a sample takes together. */
  int GROUP = NativeStructs.SAMPLE_GROUP;

  /** Elements beyond the last one found that {@link #scan} may overwrite. */
  int SLACK = NativeStructs.FOUND_SLACK;

  /**
   * How many magnitudes of a range lie where. NaN is counted nowhere.
   *
   * @param atHigh also where high is low
   */
  record Counts(long below, long atLow, long between, long atHigh) {}

  /**
   * Looks at [begin, end).
   *
   * @param found takes those between low and high, in order; room for {@code end - begin + SLACK}
   *     F32 values
   */
  Counts scan(float low, float high, MemorySegment found, long begin, long end);

  /**
   * Takes groups of {@link #GROUP} neighbours.
   *
   * @param places the first element of each group, I64
   * @param sample takes their magnitudes, F32
   */
  void sample(MemorySegment places, long groups, MemorySegment sample);
}
