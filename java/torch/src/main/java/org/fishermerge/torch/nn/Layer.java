package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;

/**
 * A differentiable function of one tensor, with its parameters. Results live in the caller's {@link
 * org.bytedeco.javacpp.PointerScope}; arguments are borrowed and not changed. Layers keep no state
 * between calls: all of it is on the tape.
 */
public interface Layer {
  /**
   * Runs the layer.
   *
   * @param x [B, T, features]
   * @param tape gets what {@link #backward} will need
   */
  Tensor forward(Tensor x, Tape tape);

  /**
   * Shows the layer to the visitor and pulls cotangents back.
   *
   * @param cotangent of the output, [V, B, T, features]
   * @param tape of the forward pass, at the place where this layer left it
   * @return the cotangent of the input, a tensor of its own
   */
  Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor);
}
