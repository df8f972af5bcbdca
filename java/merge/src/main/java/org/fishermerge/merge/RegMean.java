package org.fishermerge.merge;

import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Linear layers by regression means (Jin et al. 2023): W = (sum_i c_i W_i A_i) (sum_i c_i A_i)^-1,
 * W [O, I], with A_i the mean Gram matrix of model i's inputs, whose values off the diagonal are
 * multiplied by a ratio. Convolutions are of the rest, as FusionBench has it. In directions in
 * which no model has data the weights are averaged.
 *
 * @param offDiagonal the ratio, from 0 to 1; FusionBench's {@code reduce_non_diagonal_ratio}
 * @param rest what merges everything else
 * @param scalingFactor s in base + s (merged - base), finite
 */
public record RegMean(double offDiagonal, ElementwiseRule rest, double scalingFactor)
    implements LayerRule {
  /** The ratio of the paper and of FusionBench. */
  public static final double DEFAULT_OFF_DIAGONAL = 0.95;

  /** Of the mean diagonal, towards the average: about what F32 statistics can tell. */
  private static final double LEAST_DAMPING = 1e-7;

  private static final double MOST_DAMPING = 1;

  /**
   * Checks the settings.
   *
   * @throws InputException if one is out of its range
   */
  public RegMean {
    if (!(offDiagonal >= 0 && offDiagonal <= 1)) {
      throw new InputException("--off-diagonal is " + offDiagonal + "; it is from 0 to 1");
    }
    Average.requireScalingFactor(scalingFactor);
  }

  @Override
  public String title() {
    return "RegMean merge";
  }

  @Override
  public Optional<String> settings() {
    return Optional.of(
        "off-diagonal ratio %s, scaling factor %s, the rest by %s"
            .formatted(offDiagonal, scalingFactor, rest.title()));
  }

  @Override
  public StatisticKind layerStatistic() {
    return StatisticKind.GRAM;
  }

  @Override
  public boolean solves(LinearLayer layer, List<Long> weightShape) {
    return weightShape.size() == 2;
  }

  @Override
  public boolean scalesModels() {
    return false;
  }

  @Override
  public double modelScale(List<List<Double>> traces) {
    return 1;
  }

  @Override
  public Solution solve(List<LayerOperand> operands, LinearAlgebra algebra) {
    Matrix average = LayerAverage.of(operands, algebra);
    Matrix sum = algebra.zeros(average.columns(), average.columns());
    Matrix weighted = algebra.zeros(average.rows(), average.columns());
    for (LayerOperand operand : operands) {
      Matrix gram = operand.factors().getFirst();
      algebra.scaleOffDiagonal(gram, offDiagonal);
      algebra.add(sum, operand.coefficient(), gram);
      algebra.add(weighted, operand.coefficient(), algebra.product(operand.weight(), gram));
    }
    double diagonal = algebra.trace(sum) / sum.rows();
    double added = 0;
    for (double damping = LEAST_DAMPING; diagonal > 0 && damping <= MOST_DAMPING; damping *= 100) {
      algebra.addToDiagonal(sum, damping * diagonal - added);
      algebra.add(weighted, damping * diagonal - added, average);
      added = damping * diagonal;
      Optional<Matrix> factor = algebra.cholesky(sum);
      if (factor.isPresent()) {
        Matrix w = algebra.solve(factor.get(), algebra.transposed(weighted));
        return Solution.direct(algebra.transposed(w));
      }
    }
    return Solution.direct(average);
  }
}
