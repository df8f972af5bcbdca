package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What a layer shows of itself. On the way forward that is the {@link Input} of a linear layer; on
 * the way back what it saw on the way forward, and the cotangents of its output, from which the
 * gradients of its parameters follow. The last dimension of every tensor is contiguous.
 */
public sealed interface LayerVisit {
  /**
   * The input of a linear layer, shown on the way forward with all of its tokens, also those whose
   * output is not used.
   *
   * @param weight [O, I], or [I, O] if transposed
   * @param transposed whether the weight is stored as W^T
   * @param input [B, T, I]
   * @param realTokens which tokens are no padding, fp32 [B, T] of ones and zeros; null where all
   *     are
   */
  record Input(ParameterGroup weight, boolean transposed, Tensor input, @Nullable Tensor realTokens)
      implements LayerVisit {}

  /**
   * A product with a matrix, y = x W^T + b; the gradient of an example is the sum over its tokens
   * of the outer products of cotangent and input.
   *
   * @param weight [O, I], or [I, O] if transposed; null if it is not studied
   * @param bias [O]; null if there is none or it is not studied
   * @param transposed whether the weight is stored as W^T
   * @param firstOutput the first of those outputs that the cotangent is of, where only some of the
   *     matrices that are stacked in the weight are shown
   * @param cotangent [V, B, T, outputs]
   * @param input [B, T, I]
   */
  record Linear(
      @Nullable ParameterGroup weight,
      @Nullable ParameterGroup bias,
      boolean transposed,
      long firstOutput,
      Tensor cotangent,
      Tensor input)
      implements LayerVisit {}

  /**
   * Layer normalisation, y = scale * (x - mean) * rstd + shift.
   *
   * @param cotangent [V, B, T, D]
   * @param input [B, T, D]
   * @param mean [B, T, 1], contiguous
   * @param rstd [B, T, 1], contiguous: 1 / sqrt(variance + epsilon)
   */
  record Norm(
      ParameterGroup scale,
      ParameterGroup shift,
      Tensor cotangent,
      Tensor input,
      Tensor mean,
      Tensor rstd)
      implements LayerVisit {}

  /**
   * A table whose rows are looked up. A row that an example uses several times has the sum of their
   * cotangents as its gradient.
   *
   * @param table [rows, O]
   * @param cotangent [V, B, T, O]
   * @param ids int64 [B, T], contiguous
   */
  record Embedding(ParameterGroup table, long rows, Tensor cotangent, Tensor ids)
      implements LayerVisit {}

  /**
   * A parameter that is added to every example as it is, one value per position and feature.
   *
   * @param cotangent [V, B, P, D], of a parameter of P * D values
   */
  record Added(ParameterGroup parameter, Tensor cotangent) implements LayerVisit {}

  /**
   * A gradient that is already there, of one probe of one example (or of a whole batch where
   * examples are summed before squaring).
   *
   * @param gradient contiguous fp32, in the parameter's layout
   * @param pair index v * B + b of the probe and example
   */
  record Gradient(ParameterGroup parameter, Tensor gradient, long pair) implements LayerVisit {}
}
