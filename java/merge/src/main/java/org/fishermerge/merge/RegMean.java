package org.fishermerge.merge;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Linear layers by regression means (Jin et al. 2023): W = (sum_i c_i W_i A_i) (sum_i c_i A_i)^-1,
 * W [O, I], with A_i the mean Gram matrix of model i's inputs, whose values off the diagonal are
 * multiplied by a ratio. That is the weight whose outputs differ least from the models', in mean
 * square over their inputs. Convolutions are of the rest, as FusionBench has it.
 *
 * <p>Where the sum S = sum_i c_i A_i has no inverse, as with inputs that are always zero, or at
 * ratio 1 with outputs of a layer norm or fewer tokens than inputs, several weights are as good;
 * the one closest to the average of the models is taken, in units in which each input has a mean
 * square of one: average + R D (D S D)^+ D with R = sum_i c_i (W_i - average) A_i and D =
 * diag(S)^-1/2, zero where that has none. A direction counts as one without data if its eigenvalue
 * in D S D is within what rounding of F32 leaves in doubt, 2^-22 |D S D|. Below ratio 1 no
 * eigenvalue is less than 1 - ratio.
 *
 * @param offDiagonal the ratio, from 0 to 1; FusionBench's {@code reduce_non_diagonal_ratio}
 * @param rest what merges everything else
 * @param scalingFactor s in base + s (merged - base), finite
 */
public record RegMean(double offDiagonal, ElementwiseRule rest, double scalingFactor)
    implements LayerRule {
  /** The ratio of the paper and of FusionBench. */
  public static final double DEFAULT_OFF_DIAGONAL = 0.95;

  /** Of a sum's norm: four times what storing it as F32 may change. */
  private static final double IN_DOUBT = 0x1p-22;

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

  /** The sum and its scaled forms, and what finding eigenvectors of that takes. */
  @Override
  public long workValues(LinearLayer layer) {
    return 8 * layer.inputs() * layer.inputs() + 6 * layer.inputs() * layer.outputs();
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
  public boolean inSingle(LinearLayer layer) {
    return false;
  }

  @Override
  public Solution solve(LinearLayer layer, List<LayerOperand> operands, LinearAlgebra algebra) {
    Matrix average = LayerAverage.of(operands, algebra);
    Matrix sum = algebra.zeros(average.columns(), average.columns());
    Matrix rest = algebra.zeros(average.rows(), average.columns()); // R, then R D
    for (LayerOperand operand : operands) {
      Matrix gram = operand.factors().getFirst();
      algebra.scaleOffDiagonal(gram, offDiagonal);
      algebra.add(sum, operand.coefficient(), gram);
      algebra.run(() -> {
        Matrix difference = algebra.zeros(average.rows(), average.columns());
        algebra.add(difference, 1, operand.weight());
        algebra.add(difference, -1, average);
        algebra.addProduct(rest, operand.coefficient(), difference, gram);
      });
    }
    double[] unit =
        Arrays.stream(algebra.diagonal(sum)).map(d -> d > 0 ? 1 / Math.sqrt(d) : 0).toArray();
    algebra.scaleColumns(rest, unit);
    algebra.scaleColumns(sum, unit);
    Matrix scaled = algebra.transposed(sum); // sums are symmetric
    algebra.scaleColumns(scaled, unit);
    // An input that is always zero asks nothing of its weights, which stay the average.
    algebra.setDiagonal(scaled, 1);
    Matrix change = timesInverse(rest, scaled, algebra);
    algebra.scaleColumns(change, unit);
    algebra.add(average, 1, change);
    return Solution.direct(average);
  }

  /**
   * x a^-1, or x a^+ where a has eigenvalues in doubt; a symmetric with ones on the diagonal, its
   * other values multiplied by the ratio.
   */
  private Matrix timesInverse(Matrix x, Matrix a, LinearAlgebra algebra) {
    double doubt = IN_DOUBT * Math.sqrt(algebra.dot(a, a));
    boolean sound = 1 - offDiagonal > 2 * doubt;
    if (!sound) {
      algebra.addToDiagonal(a, -doubt);
      sound = algebra.cholesky(a).isPresent();
      algebra.addToDiagonal(a, doubt);
    }
    Optional<Matrix> factor = sound ? algebra.cholesky(a) : Optional.empty();
    if (factor.isPresent()) {
      return algebra.transposed(algebra.solve(factor.get(), algebra.transposed(x)));
    }
    return algebra.product(x, algebra.pseudoInverse(a, doubt));
  }
}
