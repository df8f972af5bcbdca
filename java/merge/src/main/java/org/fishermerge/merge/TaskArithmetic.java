package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * {@code base + s sum_i c_i (theta_i - base)} (Ilharco et al. 2023), which is the average of the
 * models with coefficients {@code s c_i} and of the base with what these leave of 1.
 *
 * @param scalingFactor s, finite; of any sign
 */
public record TaskArithmetic(double scalingFactor) implements ElementwiseRule {
  /** FusionBench's {@code scaling_factor}. */
  public static final double DEFAULT_SCALING_FACTOR = 0.3;

  /**
   * Checks the factor.
   *
   * @throws InputException if it is not finite
   */
  public TaskArithmetic {
    Average.requireScalingFactor(scalingFactor);
  }

  @Override
  public List<MergeSource> operands(Path base, List<MergeSource> models) {
    List<MergeSource> operands = new ArrayList<>();
    double left = 1;
    for (MergeSource model : models) {
      double share = scalingFactor * model.coefficient();
      left -= share;
      operands.add(model.withCoefficient(share));
    }
    operands.add(MergeSource.of(base).withCoefficient(left));
    return operands;
  }

  @Override
  public String title() {
    return "task arithmetic";
  }

  @Override
  public Set<StatisticKind> statistics() {
    return Set.of();
  }

  @Override
  public Optional<String> settings() {
    return Optional.of("scaling factor " + scalingFactor);
  }

  @Override
  public boolean takesNegativeCoefficients() {
    return true;
  }

  @Override
  public List<Weight> weights(List<Operand> operands) {
    return Average.byCoefficient(operands);
  }

  @Override
  public List<Double> shares(List<Operand> operands) {
    return Average.sharesByCoefficient(operands);
  }
}
