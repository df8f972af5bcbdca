package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * {@code out[j] = sum_i w_i[j] values_i[j] / sum_i w_i[j]} with {@code w_i[j] = scale_i fisher_i[j]
 * + offset_i}: the Fisher-weighted average of Matena and Raffel (2022), or with constant weights
 * the ordinary one. Computed in double and rounded once, to nearest even; overflow becomes infinity
 * and a zero sum of weights NaN (a positive offset avoids it).
 *
 * @param inputs at least one; their formats may differ
 * @param out {@code count} elements of {@code outType}; overlaps no other operand
 */
public record WeightedAverage(
    List<WeightedInput> inputs, MemorySegment out, ElementType outType, long count) {
  public WeightedAverage {
    inputs = List.copyOf(inputs);
  }

  /**
   * What was seen while an average was computed.
   *
   * @param fishers of each input's Fisher, in order; empty where they were not asked for
   * @param out of the result, with nothing counted as below
   */
  public record Statistics(List<ValueStatistics> fishers, ValueStatistics out) {}
}
