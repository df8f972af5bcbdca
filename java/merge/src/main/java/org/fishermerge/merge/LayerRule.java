package org.fishermerge.merge;

import java.util.List;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;

/**
 * A rule that finds all weights of a linear layer at once, from factors that statistic files hold
 * of it; {@link #rest} merges everything else. Layers are solved one after the other, so that the
 * memory is that of one layer's factors of all models, in double.
 */
public sealed interface LayerRule extends MergeRule permits KroneckerFisher, RegMean {
  /** What merges the parameters that are no weights of linear layers. */
  ElementwiseRule rest();

  /** s in base + s (merged - base). */
  double scalingFactor();

  /** The factors of each layer that it needs. */
  List<LayerFactor> factors();

  /** Whether a layer is solved; if not, its weight is of the rest. */
  boolean solves(LinearLayer layer, List<Long> weightShape);

  /**
   * The merged weight, [O, I].
   *
   * @param layer what the rule may know of each model, in their order
   */
  Solution solve(List<LayerOperand> layer, LinearAlgebra algebra);

  /**
   * One model's layer.
   *
   * @param coefficient the model's
   * @param share what {@link #modelScale} gave for the model
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
   * @param residual how far it is from solving its system: |b - L w| / |b|, 0 for a direct solve
   * @param iterations that it took; 0 for a direct solve
   */
  record Solution(LinearAlgebra.Matrix weight, double residual, int iterations) {}

  /**
   * What a model's factors are multiplied by in every layer, so that models are on one scale.
   *
   * @param traces of the model's mean factors, layer by layer, in the order of {@link #factors}
   */
  double modelScale(List<List<Double>> traces);

  @Override
  default ElementwiseRule elementwise() {
    return rest();
  }
}
