package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;

/**
 * What a merge asks of values before it trusts them.
 *
 * @param sumOfSquares in double; NaN or infinite if a value is, or if the sum overflows
 * @param minimum infinity without values; NaN is left out
 * @param below how many values are less than a threshold
 */
public record ValueStatistics(double sumOfSquares, double minimum, long below) {
  /**
   * How many values are summed before sums are added to each other. Whoever adds sums over a tensor
   * keeps to it, so that a tensor has one sum whoever computes it.
   */
  public static final long PIECE_ELEMENTS = 1L << 20;

  /** Of no values. */
  public static final ValueStatistics EMPTY = new ValueStatistics(0, Double.POSITIVE_INFINITY, 0);

  /** Of a whole tensor, piece by piece. */
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
