package org.fishermerge.torch;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.torch.objective.ExampleRandom;

/**
 * How far a statistic of some examples strays from that of all that they could have been: its
 * relative standard error in the Euclidean norm over all of its values,
 *
 * <pre>
 * e = sqrt(n s^2) / |S|    s^2 = (sum_k |D_k|^2 / g_k - |S|^2 / n) / (K - 1)
 * </pre>
 *
 * with D_k the sums over block k of the run, of g_k examples, S = D_1 + ... + D_K those over all n.
 * s^2 is an unbiased estimate of the variance of one example, summed over all values, whatever the
 * sizes of the blocks; what is drawn for labels is a part of it. Blocks must be alike but for
 * chance, as they are when examples are drawn at random.
 *
 * <p>The diagonal Fisher, and each of the Kronecker factors over all layers, has an error of its
 * own, of which the largest counts. Of more than a million values, a million stand for all: lines
 * of sixteen, one of every so many, drawn at random.
 */
public final class SamplingError implements AutoCloseable {
  /** The fewest examples of a block but the last. */
  private static final long SMALLEST_BLOCK = 32;

  /** Of later ones there are so many each time that the examples double. */
  private static final long BLOCKS_PER_DOUBLING = 8;

  private static final int LINE = 16;
  private static final long MOST_VALUES = 1 << 20;

  // The state, so that it can be saved as it is: doubles here, then the sums at the last block's
  // end.
  private static final int EXAMPLES = 0;
  private static final int BLOCKS = 1;
  private static final int SQUARES = 2; // of each kind

  /** Values of one tensor, all of the same kind. */
  private record Part(String name, int kind, long values) {}

  private final List<Part> parts = new ArrayList<>();
  private final int kinds;
  private final long stride; // in lines
  private final Arena arena = Arena.ofShared();
  private final MemorySegment state;
  private final long sumsAt;

  /**
   * Of sums that are zero.
   *
   * @param sums fp32, by the names of tensors
   */
  SamplingError(Map<String, MemorySegment> sums) {
    List<String> found = new ArrayList<>();
    long all = 0;
    for (Map.Entry<String, MemorySegment> sum : sums.entrySet()) {
      String kind = LayerFactor.ofTensor(sum.getKey()).map(LayerFactor::name).orElse("");
      if (!found.contains(kind)) {
        found.add(kind);
      }
      long values = sum.getValue().byteSize() / Float.BYTES;
      parts.add(new Part(sum.getKey(), found.indexOf(kind), values));
      all += values;
    }
    kinds = found.size();
    stride = Math.ceilDiv(all, MOST_VALUES);
    sumsAt = (SQUARES + (long) kinds) * Double.BYTES;
    long[] taken = {0};
    forEachLine((part, first, count) -> taken[0] += count);
    state = arena.allocate(sumsAt + taken[0] * Float.BYTES, Double.BYTES);
  }

  private interface LineWork {
    void of(Part part, long first, long count);
  }

  private void forEachLine(LineWork work) {
    for (int i = 0; i < parts.size(); i++) {
      Part part = parts.get(i);
      ExampleRandom random = new ExampleRandom(0, i);
      long lines = Math.ceilDiv(part.values, LINE);
      for (long from = 0; from < lines; from += stride) {
        long choice = Math.min(stride, lines - from);
        long first = (from + Math.floorMod(random.nextLong(), choice)) * LINE;
        work.of(part, first, Math.min(LINE, part.values - first));
      }
    }
  }

  /**
   * Where the block of a run ends that an example is in. Blocks become longer with the run, so that
   * their number grows with its logarithm.
   *
   * @param position in the run, from 0
   */
  public static long blockEnd(long position) {
    long size = Math.max(SMALLEST_BLOCK, Long.highestOneBit(position) / BLOCKS_PER_DOUBLING);
    return (position / size + 1) * size;
  }

  /** Examples in all blocks so far. */
  long examples() {
    return (long) number(EXAMPLES);
  }

  private double number(int index) {
    return state.getAtIndex(ValueLayout.JAVA_DOUBLE, index);
  }

  private void set(int index, double value) {
    state.setAtIndex(ValueLayout.JAVA_DOUBLE, index, value);
  }

  /**
   * Ends a block.
   *
   * @param examples in the sums
   * @param sums as they are now
   */
  void endBlock(long examples, Map<String, MemorySegment> sums) {
    double[] squares = new double[kinds];
    long[] at = {sumsAt};
    forEachLine((part, first, count) -> {
      MemorySegment sum = Objects.requireNonNull(sums.get(part.name));
      for (long j = first; j < first + count; j++) {
        float now = sum.getAtIndex(ValueLayout.JAVA_FLOAT, j);
        double block = now - (double) state.get(ValueLayout.JAVA_FLOAT, at[0]);
        squares[part.kind] += block * block;
        state.set(ValueLayout.JAVA_FLOAT, at[0], now);
        at[0] += Float.BYTES;
      }
    });
    long block = examples - examples();
    for (int kind = 0; kind < kinds; kind++) {
      set(SQUARES + kind, number(SQUARES + kind) + squares[kind] / block);
    }
    set(BLOCKS, number(BLOCKS) + 1);
    set(EXAMPLES, (double) examples);
  }

  /**
   * The error at the end of the last block; empty before there are two, if all sums are 0, or if
   * one overflows.
   */
  OptionalDouble relative() {
    double[] norms = new double[kinds];
    long[] at = {sumsAt};
    forEachLine((part, first, count) -> {
      for (long j = 0; j < count; j++) {
        double sum = state.get(ValueLayout.JAVA_FLOAT, at[0]);
        norms[part.kind] += sum * sum;
        at[0] += Float.BYTES;
      }
    });
    double blocks = number(BLOCKS);
    double examples = number(EXAMPLES);
    OptionalDouble largest = OptionalDouble.empty();
    for (int kind = 0; kind < kinds && blocks > 1; kind++) {
      if (norms[kind] > 0) {
        double variance = (number(SQUARES + kind) - norms[kind] / examples) / (blocks - 1);
        double error = Math.sqrt(Math.max(0, variance) * examples / norms[kind]);
        if (!Double.isFinite(error)) {
          return OptionalDouble.empty();
        }
        largest = OptionalDouble.of(Math.max(largest.orElse(0), error));
      }
    }
    return largest;
  }

  /** All of it, to be saved, or to be filled with what was; bytes in this machine's order. */
  MemorySegment state() {
    return state;
  }

  @Override
  public void close() {
    arena.close();
  }
}
