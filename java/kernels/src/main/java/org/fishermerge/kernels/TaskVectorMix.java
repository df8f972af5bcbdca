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

  /** Kept difference times rescale and weight, as the mixture sums it up. */
  float term(int vector, long j) {
    TaskVector of = vectors.get(vector);
    TypedValues values = new TypedValues(of.values(), of.type());
    float delta = ScalarKernels.difference(values, base, j);
    float kept = of.kept().keeps(delta, first + j) ? delta : 0;
    return kept * (float) of.rescale() * (float) of.weight();
  }

  /**
   * How much each vector's difference counts in an element: the size of its weight times its
   * rescale, or 0 if it is not kept, is no difference, or has not the elected sign. Looks at the
   * operands, and not at the output.
   */
  public double[] weightsAt(long j) {
    float[] terms = new float[vectors.size()];
    float sum = 0;
    for (int i = 0; i < terms.length; i++) {
      terms[i] = term(i, j);
      sum += terms[i];
    }
    boolean elects = how == Mix.ELECTED_SUM || how == Mix.ELECTED_MEAN;
    double[] weights = new double[terms.length];
    for (int i = 0; i < terms.length; i++) {
      boolean counts = elects ? (sum >= 0 ? terms[i] > 0 : terms[i] < 0) : terms[i] != 0;
      weights[i] = counts ? Math.abs(vectors.get(i).weight() * vectors.get(i).rescale()) : 0;
    }
    return weights;
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
