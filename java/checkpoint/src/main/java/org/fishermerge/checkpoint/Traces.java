package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.Map;

/**
 * The traces of the Kronecker factors of a statistic file, of the sums as they are stored, as an
 * entry of its metadata: a JSON object of numbers by the factors' stored names. A merge that brings
 * models to one scale takes them from here, and so reads the factors once; it checks them against
 * the data while it does.
 */
public final class Traces {
  /** The name of the entry. */
  public static final String KEY = "fisher_traces";

  private Traces() {}

  /** The value of the entry. */
  public static String text(Map<String, Double> byStoredName) {
    return StatedNumbers.text(byStoredName);
  }

  /**
   * The trace of a matrix.
   *
   * @param triangle F32, its lower triangle row by row
   * @param n rows
   */
  public static double of(MemorySegment triangle, long n) {
    double trace = 0;
    for (long k = 0; k < n; k++) {
      trace += triangle.getAtIndex(Values.F32, k * (k + 3) / 2);
    }
    return trace;
  }

  /**
   * By stored name; empty if the file has no such entry.
   *
   * @throws InputException if it is malformed, or a trace is negative or not finite
   */
  static Map<String, Double> from(SafetensorsHeader header) {
    return StatedNumbers.from(header, KEY);
  }
}
