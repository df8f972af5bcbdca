package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongConsumer;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.kernels.TaskVectorMix;
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
      begin(average.inputs().size());
    }
    double[] weights = new double[sums.length];
    // As far as they lie in the piece.
    places(
        piece.tensor().info().elementCount(),
        piece.from(),
        piece.from() + piece.count(),
        at -> add(average, at - piece.from(), weights));
    if (piece.endsTensor()) {
      end(piece.tensor());
    }
  }

  /** Takes a tensor that was mixed; the base's share comes after those of the models. */
  void add(CheckpointTensor tensor, TaskVectorMix mix) {
    int models = mix.vectors().size();
    begin(models + 1);
    places(
        mix.count(),
        0,
        mix.count(),
        at -> {
          double[] weights = mix.weightsAt(at);
          double sum = Arrays.stream(weights).sum();
          sampled++;
          if (sum == 0) {
            sums[models]++;
            return;
          }
          for (int i = 0; i < models; i++) {
            sums[i] += weights[i] / sum;
          }
        });
    end(tensor);
  }

  /** The middles of equal parts of a tensor, those from {@code begin} up to {@code end}. */
  private static void places(long elements, long begin, long end, LongConsumer taker) {
    long n = Math.min(elements, MOST);
    double part = (double) elements / n;
    for (long k = Math.max(0, (long) (begin / part) - 1); k < n; k++) {
      long at = (long) ((k + 0.5) * part);
      if (at >= end) {
        break;
      }
      if (at >= begin) {
        taker.accept(at);
      }
    }
  }

  private void begin(int shares) {
    sums = new double[shares];
    sampled = 0;
  }

  private void end(CheckpointTensor tensor) {
    if (sampled > 0) {
      long of = sampled;
      found.add(
          new TensorShares(
              tensor.name(),
              tensor.info().elementCount(),
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
