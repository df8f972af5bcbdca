package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;

/**
 * Measures {@link TensorShares} on values that the merge has just read, so that it costs no pass
 * over the data: of a large model it looks at one value in some hundred thousand.
 */
final class ShareSample {
  /**
   * Values of a tensor at most. A prime, so that steps of equal length do not fall into step with
   * the tensor's rows, which are multiples of small numbers.
   */
  static final int MOST = 251;

  private final List<TensorShares> found = new ArrayList<>();

  /** Of the tensor whose pieces come one after the other. */
  private double[] sums = new double[0];

  private long sampled;

  /** Takes a piece that was averaged; the pieces of a tensor come in order. */
  void add(Piece piece, WeightedAverage average) {
    if (piece.from() == 0) {
      sums = new double[average.inputs().size()];
      sampled = 0;
    }
    long elements = piece.tensor().info().elementCount();
    long n = Math.min(elements, MOST);
    double part = (double) elements / n;
    double[] weights = new double[sums.length];
    // The middles of n equal parts of the tensor, as far as they lie in the piece.
    for (long k = Math.max(0, (long) (piece.from() / part) - 1); k < n; k++) {
      long at = (long) ((k + 0.5) * part);
      if (at >= piece.from() + piece.count()) {
        break;
      }
      if (at >= piece.from()) {
        add(average, at - piece.from(), weights);
      }
    }
    if (piece.endsTensor() && sampled > 0) {
      long of = sampled;
      found.add(
          new TensorShares(
              piece.tensor().name(),
              elements,
              of,
              Arrays.stream(sums).mapToObj(sum -> sum / of).toList()));
    }
  }

  private void add(WeightedAverage average, long at, double[] weights) {
    double sum = 0;
    for (int i = 0; i < weights.length; i++) {
      WeightedInput input = average.inputs().get(i);
      MemorySegment fisher = input.fisher();
      weights[i] =
          fisher == null
              ? input.offset()
              : input.scale() * Values.get(fisher, input.fisherType(), at) + input.offset();
      sum += weights[i];
    }
    if (!Double.isFinite(sum) || sum == 0) {
      return;
    }
    sampled++;
    for (int i = 0; i < weights.length; i++) {
      sums[i] += weights[i] / sum;
    }
  }

  /** Forgets what was measured, for a merge that is done again. */
  void clear() {
    found.clear();
  }

  /** Of all tensors so far. */
  List<TensorShares> results() {
    return List.copyOf(found);
  }
}
