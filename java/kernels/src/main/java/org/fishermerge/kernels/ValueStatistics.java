package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;

/**
 * Statistics of values, with which a merge checks them.
 *
 * @param sumOfSquares in double; NaN or infinite if a value is, or if the sum overflows
 * @param minimum of the values that are not NaN; positive infinity if there are none
 * @param below how many values are less than the threshold of the call
 */
public record ValueStatistics(double sumOfSquares, double minimum, long below) {
  /**
   * How many values of a tensor go into one call; the sums of these pieces are added in order.
   * Callers that sum over a tensor all cut it like this, so that they get the same bits.
   */
  public static final long PIECE_ELEMENTS = 1L << 20;

  /** Statistics of no values. */
  public static final ValueStatistics EMPTY = new ValueStatistics(0, Double.POSITIVE_INFINITY, 0);

  /** Statistics of a whole tensor, in pieces of {@link #PIECE_ELEMENTS}. */
  public static ValueStatistics ofTensor(Kernels kernels, TypedValues values, double threshold) {
    long width = values.type().bytes();
    long elements = values.data().byteSize() / width;
    List<TypedValues> pieces = new ArrayList<>();
    for (long from = 0; from < elements; from += PIECE_ELEMENTS) {
      long count = Math.min(PIECE_ELEMENTS, elements - from);
      pieces.add(
          new TypedValues(values.data().asSlice(from * width, count * width), values.type()));
    }
    return kernels.statistics(pieces, threshold).stream().reduce(EMPTY, ValueStatistics::plus);
  }

  /** Statistics of both sets of values together; both count below the same threshold. */
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
