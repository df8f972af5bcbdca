package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * {@code out[j] = base[j] + factor * mix_i(weight_i rescale_i delta_ij)} over the kept differences
 * delta_i = values_i - base. Differences, terms, sums over models in order, quotient and product
 * are F32; base + mix is in double, rounded once to nearest even. A difference that is not finite
 * makes its element NaN.
 *
 * @param vectors at least one
 * @param base at least {@code count} elements
 * @param how the terms become one
 * @param first the index in its tensor of element 0, for the places of {@link Kept}
 * @param out {@code count} elements, off-heap in the process's memory, may be unaligned; overlaps
 *     no other operand
 */
public record TaskVectorMix(
    List<TaskVector> vectors,
    TypedValues base,
    Mix how,
    double factor,
    long first,
    MemorySegment out,
    ElementType outType,
    long count) {
  /** How terms become one. */
  public enum Mix {
    /** Their sum. */
    SUM,
    /** Their sum over the sum of the weights; over 1 where that is below 1e-8. */
    MEAN,
    /**
     * The sum of those that have the elected sign, which is that of the sum of all, + where it is 0
     * (Yadav et al. 2023).
     */
    ELECTED_SUM,
    /** The same over the sum of their weights; over 1 where that is 0. */
    ELECTED_MEAN
  }

  /** The same of other differences. */
  public TaskVectorMix withVectors(List<TaskVector> others) {
    return new TaskVectorMix(others, base, how, factor, first, out, outType, count);
  }

  /** Copies the list. */
  public TaskVectorMix {
    vectors = List.copyOf(vectors);
  }
}
