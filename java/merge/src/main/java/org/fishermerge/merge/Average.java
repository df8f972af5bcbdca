package org.fishermerge.merge;

import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * The average of the models' values, weighted by their coefficients: {@code sum_i c_i theta_i /
 * sum_i c_i} (model soups, Wortsman et al. 2022).
 */
public record Average() implements ElementwiseRule {
  @Override
  public String title() {
    return "average";
  }

  @Override
  public Optional<StatisticKind> statistic() {
    return Optional.empty();
  }

  @Override
  public Optional<String> settings() {
    return Optional.empty();
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
