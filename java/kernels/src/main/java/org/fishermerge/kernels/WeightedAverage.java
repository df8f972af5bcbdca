package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code out[j] = sum_i w_i[j] values_i[j] / sum_i w_i[j]} with {@code w_i[j] = scale_i fisher_i[j]
 * + offset_i}: the Fisher-weighted average of Matena and Raffel (2022), or with constant weights
 * the ordinary one; then moved along the line from a base: {@code base[j] + scalingFactor
 * (average[j] - base[j])}, or from 0. Computed in double and rounded once, to nearest even;
 * overflow becomes infinity and a zero sum of weights NaN (a positive offset avoids it).
 *
 * @param inputs at least one, and at most 64 on a GPU; their formats may differ
 * @param base at least {@code count} elements; null for 0
 * @param out {@code count} elements, off-heap in the process's memory, may be unaligned; overlaps
 *     no other operand
 * @param outType format of {@code out}
 * @param count number of elements j
 */
public record WeightedAverage(
    List<WeightedInput> inputs,
    @Nullable TypedValues base,
    double scalingFactor,
    MemorySegment out,
    ElementType outType,
    long count) {
  /** The average itself. */
  public WeightedAverage(
      List<WeightedInput> inputs, MemorySegment out, ElementType outType, long count) {
    this(inputs, null, 1, out, outType, count);
  }

  /** Copies the list of inputs. */
  public WeightedAverage {
    inputs = List.copyOf(inputs);
  }

  /** All that is read: the base, then values and Fisher of each input, where they are. */
  public List<MemorySegment> operands() {
    List<MemorySegment> operands = new ArrayList<>();
    if (base != null) {
      operands.add(base.data());
    }
    for (WeightedInput input : inputs) {
      operands.add(input.values());
      if (input.fisher() != null) {
        operands.add(input.fisher());
      }
    }
    return operands;
  }

  /**
   * Statistics of what an average reads and writes.
   *
   * @param fishers of each input's Fisher, in order; empty if they were not asked for
   * @param out of the result; its {@code below} is 0
   */
  public record Statistics(List<ValueStatistics> fishers, ValueStatistics out) {}
}
