package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;

/**
 * y = x + body(x), for the tokens that the body has an output for.
 *
 * @param body gives a tensor of its own
 * @param output the tokens that are used further on
 */
public record Residual(Layer body, OutputTokens output) implements Layer {
  /** For all tokens. */
  public Residual(Layer body) {
    this(body, OutputTokens.ALL);
  }

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    return body.forward(x, tape).add_(output.of(x, 1));
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor x = body.backward(cotangent, tape, visitor);
    output.of(x, 2).add_(cotangent);
    return x;
  }
}
