package org.fishermerge.checkpoint;

import java.util.Map;

/**
 * The sum of squares of each tensor of a Fisher file, as an entry of its metadata: a JSON object of
 * numbers by stored name. A merge that normalises by norms takes them from here, and so reads the
 * Fishers once; it checks them against the data while it does.
 */
public final class SumsOfSquares {
  /** The name of the entry. */
  public static final String KEY = "fisher_sums_of_squares";

  private SumsOfSquares() {}

  /** The value of the entry. */
  public static String text(Map<String, Double> byStoredName) {
    return StatedNumbers.text(byStoredName);
  }

  /**
   * By stored name; empty if the file has no such entry.
   *
   * @throws InputException if it is malformed, or a sum is negative or not finite
   */
  static Map<String, Double> from(SafetensorsHeader header) {
    return StatedNumbers.from(header, KEY);
  }
}
