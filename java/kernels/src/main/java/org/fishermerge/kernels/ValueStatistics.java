package org.fishermerge.kernels;

/**
 * What a merge asks of values before it trusts them.
 *
 * @param sumOfSquares in double; NaN or infinite if a value is, or if the sum overflows
 * @param minimum infinity without values; NaN is left out
 * @param below how many values are less than a threshold
 */
public record ValueStatistics(double sumOfSquares, double minimum, long below) {
  /** Of no values. */
  public static final ValueStatistics EMPTY = new ValueStatistics(0, Double.POSITIVE_INFINITY, 0);

  /** Of both sets of values together. */
  public ValueStatistics plus(ValueStatistics other) {
    return new ValueStatistics(
        sumOfSquares + other.sumOfSquares, Math.min(minimum, other.minimum), below + other.below);
  }

  /**
   * Whether no value is NaN or infinite. F64 values beyond 1e154, whose squares overflow, count as
   * infinite.
   */
  public boolean finite() {
    return Double.isFinite(sumOfSquares);
  }
}
