package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;

/** A model's first layers, which take inputs that no cotangent is wanted of. */
public interface Stem<I extends Batch> {
  /**
   * Runs the layers.
   *
   * @param tape gets what {@link #backward} will need, and the batch's attention mask
   * @return [B, T, D], in the caller's scope
   */
  Tensor forward(I batch, Tape tape);

  /**
   * Shows its parameters to the visitor.
   *
   * @param cotangent [V, B, T, D]
   */
  void backward(Tensor cotangent, Tape tape, LayerVisitor visitor);
}
