package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;
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

  /** The middles of equal parts of a tensor. */
  private record Places(long elements) {
    int count() {
      return (int) Math.min(elements, MOST);
    }

    long at(int k) {
      return (long) ((k + 0.5) * ((double) elements / count()));
    }

    /** Index of the first one that is not before an element. */
    int first(long element) {
      int k = (int) Math.max(0, element / ((double) elements / count()) - 1);
      while (k < count() && at(k) < element) {
        k++;
      }
      return k;
    }
  }

  /** Shares of the models at the places that lie in a piece. */
  static final class Part {
    private final Piece piece;
    private final WeightedAverage average;
    private final Places places;
    private final int first;
    private final int models;
    private final double[] shares; // [places][models]; NaN where weights have no sum

    Part(Piece piece, WeightedAverage average) {
      this.piece = piece;
      this.average = average;
      places = new Places(piece.tensor().info().elementCount());
      first = places.first(piece.from());
      int end = places.first(piece.from() + piece.count());
      models = average.inputs().size();
      shares = new double[(end - first) * models];
    }

    /**
     * Looks at the piece's elements [from, to); threads may do so at others meanwhile.
     *
     * @param fishers gives these elements of an input's Fisher
     */
    void look(long from, long to, IntFunction<MemorySegment> fishers) {
      int begin = places.first(piece.from() + from);
      int end = places.first(piece.from() + to);
      for (int i = 0; i < models && begin < end; i++) {
        WeightedInput input = average.inputs().get(i);
        MemorySegment fisher = input.fisher() == null ? null : fishers.apply(i);
        for (int k = begin; k < end; k++) {
          shares[(k - first) * models + i] =
              fisher == null
                  ? input.offset()
                  : input.scale()
                          * Values.get(
                              fisher, input.fisherType(), places.at(k) - piece.from() - from)
                      + input.offset();
        }
      }
      for (int k = begin; k < end; k++) {
        divide((k - first) * models);
      }
    }

    private void divide(int row) {
      double sum = 0;
      for (int i = 0; i < models; i++) {
        sum += shares[row + i];
      }
      for (int i = 0; i < models; i++) {
        shares[row + i] = sum == 0 || !Double.isFinite(sum) ? Double.NaN : shares[row + i] / sum;
      }
    }
  }

  /** Takes a piece that was looked at as a whole; the pieces of a tensor come in order. */
  void add(Part part) {
    if (part.piece.from() == 0) {
      begin(part.models);
    }
    for (int row = 0; row < part.shares.length; row += part.models) {
      add(part.shares, row);
    }
    if (part.piece.endsTensor()) {
      end(part.piece.tensor());
    }
  }

  private void add(double[] shares, int row) {
    if (!Double.isNaN(shares[row])) {
      sampled++;
      for (int i = 0; i < sums.length; i++) {
        sums[i] += shares[row + i];
      }
    }
  }

  /** Takes a tensor that was mixed; the base's share comes after those of the models. */
  void add(CheckpointTensor tensor, TaskVectorMix mix) {
    int models = mix.vectors().size();
    begin(models + 1);
    Places places = new Places(mix.count());
    for (int k = 0; k < places.count(); k++) {
      double[] weights = mix.weightsAt(places.at(k));
      double sum = Arrays.stream(weights).sum();
      sampled++;
      if (sum == 0) {
        sums[models]++;
        continue;
      }
      for (int i = 0; i < models; i++) {
        sums[i] += weights[i] / sum;
      }
    }
    end(tensor);
  }

  private void begin(int shares) {
    sums = new double[shares];
    sampled = 0;
  }

  private void end(CheckpointTensor tensor) {
    if (sampled > 0) {
      List<Double> shares = new ArrayList<>(sums.length);
      for (double sum : sums) {
        shares.add(sum / sampled);
      }
      found.add(new TensorShares(tensor.name(), tensor.info().elementCount(), sampled, shares));
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
