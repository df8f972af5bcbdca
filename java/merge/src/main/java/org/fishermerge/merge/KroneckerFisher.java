package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Linear layers by the Kronecker-factored Fisher information (Martens and Grosse 2015; of merging,
 * Matena and Raffel 2022 with the whole Fisher in place of its diagonal): the weight W [O, I] that
 * minimises
 *
 * <pre>
 * sum_i c_i tr((W - W_i)^T G_i (W - W_i) A_i)
 * </pre>
 *
 * with A_i and G_i model i's mean factors, to each of which damping times the mean of its diagonal
 * is added on the diagonal, and c_i the model's coefficient, normalised as {@link Scale} says. The
 * system sum_i c_i G_i W A_i = sum_i c_i G_i W_i A_i is solved by conjugate gradients,
 * preconditioned by the Kronecker product of weighted sums of the factors. A layer whose factors
 * are all zero is averaged.
 *
 * @param damping not negative, finite
 * @param scale how the models are brought to one scale
 * @param tolerance of the residual |b - L w| / |b| at which a layer is solved
 * @param iterations most iterations of a layer
 * @param rest what merges everything else
 * @param scalingFactor s in base + s (merged - base), finite
 */
public record KroneckerFisher(
    double damping,
    Scale scale,
    double tolerance,
    int iterations,
    ElementwiseRule rest,
    double scalingFactor)
    implements LayerRule {
  /** How the models' Fishers are brought to one scale. */
  public enum Scale {
    /** Divided by the trace of the model's Fisher over all layers, sum_l tr(A_l) tr(G_l). */
    TRACE,
    /** Divided by the trace of the layer's own. */
    LAYER,
    /** As they are. */
    NONE
  }

  /** Added to the factors' diagonals, of their mean. */
  public static final double DEFAULT_DAMPING = 0.01;

  /** The residual at which a weight in F32 has the digits of a direct solution. */
  public static final double DEFAULT_TOLERANCE = 1e-7;

  /**
   * Most iterations of a layer; most take 10 to 30, those that few tokens reach around 100, with
   * little damping 300.
   */
  public static final int DEFAULT_ITERATIONS = 500;

  /** Damping 0.01, traces, everything else averaged. */
  public static final KroneckerFisher DEFAULT =
      new KroneckerFisher(
          DEFAULT_DAMPING, Scale.TRACE, DEFAULT_TOLERANCE, DEFAULT_ITERATIONS, new Average(), 1);

  /**
   * Checks the settings.
   *
   * @throws InputException if one is out of its range
   */
  public KroneckerFisher {
    if (!Double.isFinite(damping) || damping < 0) {
      throw new InputException("--damping is " + damping + "; it is finite and not negative");
    }
    if (!(tolerance > 0) || iterations < 1) {
      throw new InputException(
          "a tolerance above 0 and at least one iteration are needed, not "
              + tolerance
              + " and "
              + iterations);
    }
    Average.requireScalingFactor(scalingFactor);
  }

  @Override
  public String title() {
    return "Kronecker-factored Fisher merge";
  }

  @Override
  public Optional<String> settings() {
    return Optional.of(
        "damping %s, normalisation %s, scaling factor %s, the rest by %s"
            .formatted(
                damping, scale.name().toLowerCase(Locale.ROOT), scalingFactor, rest.title()));
  }

  @Override
  public StatisticKind layerStatistic() {
    return StatisticKind.KRONECKER;
  }

  @Override
  public boolean solves(LinearLayer layer, List<Long> weightShape) {
    return true;
  }

  /** Sums of factors with their decompositions, and what the search keeps. */
  @Override
  public long workValues(LinearLayer layer) {
    long sums = layer.inputs() * layer.inputs() + layer.outputs() * layer.outputs();
    return 2 * sums + 12 * layer.inputs() * layer.outputs();
  }

  @Override
  public boolean scalesModels() {
    return scale == Scale.TRACE;
  }

  @Override
  public double modelScale(List<List<Double>> traces) {
    double trace = traces.stream().mapToDouble(layer -> layer.get(0) * layer.get(1)).sum();
    return trace > 0 ? 1 / trace : 1;
  }

  @Override
  public double systemTrace(double modelScale, List<Double> traces) {
    double trace = traces.get(0) * traces.get(1);
    return scale == Scale.LAYER ? (trace > 0 ? 1 : 0) : modelScale * trace;
  }

  @Override
  public Solution solve(List<LayerOperand> operands, LinearAlgebra algebra) {
    List<Term> terms = new ArrayList<>();
    for (LayerOperand operand : operands) {
      Matrix a = operand.factors().get(0);
      Matrix g = operand.factors().get(1);
      double trace = algebra.trace(a) * algebra.trace(g);
      if (trace > 0 && operand.coefficient() > 0) {
        double own = scale == Scale.LAYER ? 1 / trace : operand.share();
        algebra.addToDiagonal(a, damping * algebra.trace(a) / a.rows());
        algebra.addToDiagonal(g, damping * algebra.trace(g) / g.rows());
        terms.add(new Term(operand.coefficient() * own, a, g, operand.weight()));
      }
    }
    Matrix start = LayerAverage.of(operands, algebra);
    if (terms.isEmpty()) {
      return Solution.direct(start);
    }
    return new ConjugateGradients(terms, algebra).solve(start, tolerance, iterations);
  }

  /** One model's part of the sum: c G W A, and its own weight. */
  record Term(double coefficient, Matrix a, Matrix g, Matrix weight) {}
}
