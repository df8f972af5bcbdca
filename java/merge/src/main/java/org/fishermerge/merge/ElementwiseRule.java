package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A rule that weights each element j of the models by itself:
 *
 * <pre>
 * theta_j = sum_i w_ij theta_ij / sum_i w_ij,   w_ij = scale_i F_ij + offset_i
 * </pre>
 *
 * with F_ij model i's statistic as its file stores it; then moved along the line from the base,
 * base + s (theta - base). A rule without a statistic has scale 0. {@link StreamingAverage}
 * computes the sums, in double, rounded once to the output's dtype.
 */
public sealed interface ElementwiseRule extends MergeRule
    permits Average, DiagonalFisher, TaskArithmetic {
  /** s in base + s (theta - base). */
  default double scaling() {
    return 1;
  }

  /**
   * What is read: the models, and behind them the base where the rule gives it a share. Where
   * {@link #scaling} does so, the base is not among the weighted sums.
   */
  default List<MergeSource> operands(Path base, List<MergeSource> models) {
    if (scaling() == 1) {
      return List.copyOf(models);
    }
    List<MergeSource> operands = new ArrayList<>(models);
    operands.add(MergeSource.of(base).withCoefficient(1 - scaling()));
    return operands;
  }

  /** Those of the operands that the sums run over. */
  default <T> List<T> weighted(List<T> operands) {
    return scaling() == 1 ? operands : operands.subList(0, operands.size() - 1);
  }

  @Override
  default ElementwiseRule elementwise() {
    return this;
  }

  /** Which norm of its statistic {@link Operand#norm} is to hold. */
  default Normalization normalization() {
    return Normalization.NONE;
  }

  /** What is added to every mean statistic; how many are smaller is counted and reported. */
  default double minimalStatistic() {
    return 0;
  }

  /** The weights of one tensor's elements, in the order of the {@link #weighted} operands. */
  List<Weight> weights(List<Operand> operands);

  /**
   * Each weighted operand's share of theta as far as the statistics leave it open, in their order;
   * the sum is 1.
   */
  List<Double> shares(List<Operand> operands);

  /**
   * What a rule knows of one operand.
   *
   * @param coefficient as the request, or {@link #operands}, has it
   * @param examples what the statistic as stored is to be divided by for its mean; 1 without one
   * @param norm L2 norm of the mean statistic, by {@link #normalization} of the whole model or of
   *     the tensor; NaN where the rule asks for none
   */
  record Operand(double coefficient, long examples, double norm) {}

  /** An operand's weight of an element is {@code scale * F + offset}, F as stored in its file. */
  record Weight(double scale, double offset) {}
}
