package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.merge.ConjugateGradients.Term;
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
 * preconditioned by the Kronecker product of weighted sums of the factors, starting from the
 * average. A layer whose factors are all zero is averaged.
 *
 * @param damping not negative, finite
 * @param scale how the models are brought to one scale
 * @param tolerance how much of the average's residual may be left of a layer
 * @param iterations most iterations of a layer
 * @param rest what merges everything else
 * @param scalingFactor s in base + s (merged - base), finite
 */
public record KroneckerFisher(
    double damping,
    Scale scale,
    Tolerance tolerance,
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

  /** What F32 rounds in products of large layers is far below such a tolerance. */
  private static final double SINGLE_FROM = 1e-3;

  /**
   * Most iterations of a layer; to 1e-6 most take 20 to 40, those that few tokens reach around 100,
   * with little damping 300.
   */
  public static final int DEFAULT_ITERATIONS = 500;

  /** Damping 0.01, traces, everything else averaged. */
  public static final KroneckerFisher DEFAULT =
      new KroneckerFisher(
          DEFAULT_DAMPING, Scale.TRACE, Tolerance.DEFAULT, DEFAULT_ITERATIONS, new Average(), 1);

  /**
   * Checks the settings.
   *
   * @throws InputException if one is out of its range
   */
  public KroneckerFisher {
    if (!Double.isFinite(damping) || damping < 0) {
      throw new InputException("--damping is " + damping + "; it is finite and not negative");
    }
    if (iterations < 1) {
      throw new InputException("at least one iteration is needed, not " + iterations);
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
  public boolean inSingle(LinearLayer layer) {
    return tolerance.of(layer) >= SINGLE_FROM;
  }

  @Override
  public Solution solve(LinearLayer layer, List<LayerOperand> operands, LinearAlgebra algebra) {
    Matrix average = LayerAverage.of(operands, algebra);
    // BLAS is at its fastest where matrices are wide.
    boolean tall = average.rows() > average.columns();
    Matrix b =
        tall
            ? algebra.zeros(average.columns(), average.rows())
            : algebra.zeros(average.rows(), average.columns());
    List<Term> terms = new ArrayList<>();
    for (LayerOperand operand : operands) {
      Optional<Term> term = term(operand, tall, algebra);
      if (term.isPresent()) {
        terms.add(term.get());
        algebra.run(() -> {
          Matrix difference = algebra.zeros(average.rows(), average.columns());
          algebra.add(difference, 1, operand.weight());
          algebra.add(difference, -1, average);
          ConjugateGradients.addTo(
              b, term.get(), tall ? algebra.transposed(difference) : difference, algebra);
        });
      }
    }
    if (terms.isEmpty()) {
      return Solution.direct(average);
    }
    double wanted = tolerance.of(layer);
    ConjugateGradients system = new ConjugateGradients(terms, algebra);
    Matrix left = b;
    if (!inSingle(layer)) {
      left = algebra.zeros(b.rows(), b.columns());
      algebra.add(left, 1, b);
    }
    ConjugateGradients.Found change = system.solve(left, wanted, iterations);
    // At tolerances above SINGLE_FROM the recurrence's is as good, and another costs an iteration.
    double residual = inSingle(layer) ? change.residual() : system.residual(change.x(), b);
    algebra.add(average, 1, tall ? algebra.transposed(change.x()) : change.x());
    return new Solution(average, residual, wanted, change.iterations());
  }

  /**
   * A model's term of the system.
   *
   * @param operand whose factors are damped
   * @param transposed whether the system is that of W^T
   * @return empty without data, or with what rounding to F32 left of it
   */
  private Optional<Term> term(LayerOperand operand, boolean transposed, LinearAlgebra algebra) {
    Matrix a = operand.factors().get(0);
    Matrix g = operand.factors().get(1);
    double meanA = algebra.trace(a) / a.rows();
    double meanG = algebra.trace(g) / g.rows();
    if (meanA < Float.MIN_NORMAL || meanG < Float.MIN_NORMAL || operand.coefficient() == 0) {
      return Optional.empty();
    }
    double own =
        scale == Scale.LAYER
            ? 1.0 / (a.rows() * (double) g.rows())
            : operand.share() * meanA * meanG;
    damp(a, meanA, algebra);
    damp(g, meanG, algebra);
    return Optional.of(
        new Term(operand.coefficient() * own, transposed ? a : g, transposed ? g : a));
  }

  /** Makes the mean of a factor's diagonal one, and adds the damping. */
  private void damp(Matrix factor, double mean, LinearAlgebra algebra) {
    algebra.scale(factor, 1 / mean);
    algebra.addToDiagonal(factor, damping);
  }

  /**
   * How far layers are solved: |b - L w| of the merged weight over that of the average, from which
   * the search starts; docs/choosing.md has what that costs and gains. From 1e-3 on a layer is
   * solved in single precision.
   *
   * @param ofSmall of layers for which an iteration costs next to nothing; above 0, 1 at most
   * @param ofLarge of layers for which that decides how long a merge takes; above 0, 1 at most
   */
  public record Tolerance(double ofSmall, double ofLarge) {
    /** A layer of so many O I (O + I), half the operations of a product, is large: of 407 x 407. */
    private static final long LARGE = 1L << 27;

    /**
     * Small layers to the digits of a direct solution in F32; large ones until little of the
     * residual is left, which docs/choosing.md measures.
     */
    public static final Tolerance DEFAULT = new Tolerance(1e-6, 0.02);

    /**
     * Checks them.
     *
     * @throws InputException if one is not above 0, or above 1
     */
    public Tolerance {
      if (!isTolerance(ofSmall) || !isTolerance(ofLarge)) {
        throw new InputException(
            "--tolerance is "
                + (isTolerance(ofSmall) ? ofLarge : ofSmall)
                + "; it must be above 0, and at most 1, with which the average stays");
      }
    }

    private static boolean isTolerance(double value) {
      return value > 0 && value <= 1;
    }

    /** One for all layers. */
    public static Tolerance ofAll(double tolerance) {
      return new Tolerance(tolerance, tolerance);
    }

    double of(LinearLayer layer) {
      return layer.inputs() * layer.outputs() * (layer.inputs() + layer.outputs()) < LARGE
          ? ofSmall
          : ofLarge;
    }
  }
}
