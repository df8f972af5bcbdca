package org.fishermerge.merge;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * The average of the models' values, weighted by their coefficients: {@code sum_i c_i theta_i /
 * sum_i c_i} (model soups, Wortsman et al. 2022), moved along the line from the base to it.
 *
 * @param scalingFactor s in base + s (average - base), finite; at 1 the base has no share
 */
public record Average(double scalingFactor) implements ElementwiseRule {
  /** The average itself. */
  public Average() {
    this(1);
  }

  /**
   * Checks the factor.
   *
   * @throws InputException if it is not finite
   */
  public Average {
    requireScalingFactor(scalingFactor);
  }

  @Override
  public double scaling() {
    return scalingFactor;
  }

  @Override
  public String title() {
    return "average";
  }

  @Override
  public Set<StatisticKind> statistics() {
    return Set.of();
  }

  @Override
  public Optional<String> settings() {
    return scalingSetting(scalingFactor);
  }

  @Override
  public boolean takesNegativeCoefficients() {
    return true;
  }

  @Override
  public List<Weight> weights(List<Operand> operands) {
    return byCoefficient(operands);
  }

  @Override
  public List<Double> shares(List<Operand> operands) {
    return sharesByCoefficient(operands);
  }

  /** Of every rule that has such a factor. */
  static void requireScalingFactor(double scalingFactor) {
    if (!Double.isFinite(scalingFactor)) {
      throw new InputException("--scaling-factor " + scalingFactor + ": must be finite");
    }
  }

  /** The factor in a plan's text, where it has an effect. */
  static Optional<String> scalingSetting(double scalingFactor) {
    return scalingFactor == 1 ? Optional.empty() : Optional.of("scaling factor " + scalingFactor);
  }

  /** Weights that are the coefficients, for every rule that is an average at heart. */
  static List<Weight> byCoefficient(List<Operand> operands) {
    return operands.stream().map(operand -> new Weight(0, operand.coefficient())).toList();
  }

  /** The coefficients, scaled to sum to 1. */
  static List<Double> sharesByCoefficient(List<Operand> operands) {
    double sum = operands.stream().mapToDouble(Operand::coefficient).reduce(0, Double::sum);
    return operands.stream().map(operand -> operand.coefficient() / sum).toList();
  }
}
