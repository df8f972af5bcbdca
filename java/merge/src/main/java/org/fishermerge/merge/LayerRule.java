package org.fishermerge.merge;

import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * A rule that finds all weights of a linear layer at once, from factors that statistic files hold
 * of it; {@link #rest} merges everything else. Layers are solved one after the other, so that the
 * memory is that of one layer's factors of all models.
 */
public sealed interface LayerRule extends MergeRule permits KroneckerFisher, RegMean {
  /** What merges the parameters that are no weights of linear layers. */
  ElementwiseRule rest();

  /** s in base + s (merged - base). */
  @Override
  double scalingFactor();

  /** The kind of statistic that has the factors it solves with. */
  StatisticKind layerStatistic();

  /** The factors of each layer that it needs. */
  default List<LayerFactor> factors() {
    return layerStatistic().factors();
  }

  @Override
  default Set<StatisticKind> statistics() {
    EnumSet<StatisticKind> kinds = EnumSet.of(layerStatistic());
    kinds.addAll(rest().statistics());
    return kinds;
  }

  /** A sum of quadratic forms must have a minimum. */
  @Override
  default boolean takesNegativeCoefficients() {
    return false;
  }

  /** Whether a layer is solved; if not, its weight is of the rest. */
  boolean solves(LinearLayer layer, List<Long> weightShape);

  /** Whether a layer is solved by matrices of floats, {@link LinearAlgebra#inSingle}. */
  boolean inSingle(LinearLayer layer);

  /** Values of matrices that {@link #solve} makes at the same time, beside what it is given. */
  long workValues(LinearLayer layer);

  /**
   * The merged weight, [O, I].
   *
   * @param operands what the rule may know of each model, in their order; their matrices may be
   *     changed
   * @param algebra what the operands' matrices were made by
   */
  Solution solve(LinearLayer layer, List<LayerOperand> operands, LinearAlgebra algebra);

  /**
   * One model's layer.
   *
   * @param coefficient the model's
   * @param share what {@link #modelScale} gave for the model; 1 where it was not asked
   * @param weight [O, I]
   * @param factors means, as {@link #factors} asks for them
   */
  record LayerOperand(
      double coefficient,
      double share,
      LinearAlgebra.Matrix weight,
      List<LinearAlgebra.Matrix> factors) {}

  /**
   * A merged weight.
   *
   * @param weight [O, I]
   * @param residual how far it is from solving its system before it is rounded to the output's
   *     dtype: |b - L w| over that of the models' average; 0 of a direct solve
   * @param wanted the residual that was aimed at
   * @param iterations that it took
   */
  record Solution(LinearAlgebra.Matrix weight, double residual, double wanted, int iterations) {
    /** Of a direct solve. */
    static Solution direct(LinearAlgebra.Matrix weight) {
      return new Solution(weight, 0, 0, 0);
    }
  }

  /** Whether models are scaled as wholes, which takes a look at all of their factors before. */
  boolean scalesModels();

  /**
   * What a model's factors are multiplied by in every layer, so that models are on one scale. Asked
   * only if {@link #scalesModels}.
   *
   * @param traces of the model's mean factors, layer by layer, in the order of {@link #factors}
   */
  double modelScale(List<List<Double>> traces);

  /**
   * The trace of a model's part of a layer's system, but for its coefficient: how much the model
   * has to say there.
   *
   * @param scale that of {@link #modelScale}, or 1
   * @param traces of the model's mean factors of the layer, in the order of {@link #factors}
   */
  default double systemTrace(double scale, List<Double> traces) {
    return traces.stream().reduce(scale, (a, b) -> a * b);
  }

  @Override
  default ElementwiseRule elementwise() {
    return rest();
  }
}
