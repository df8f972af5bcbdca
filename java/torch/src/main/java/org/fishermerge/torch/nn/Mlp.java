package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.Tensors;

/** out(activation(in(x))). */
public record Mlp(Linear in, Activation activation, Linear out) implements Layer {
  @Override
  public Tensor forward(Tensor x, Tape tape) {
    in.showInput(x, tape);
    Tensor u = in.apply(x, activation.inputScale);
    tape.save(x, u);
    return out.forward(activation.of(u), tape);
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor activated = out.backward(cotangent, tape, visitor);
    Tensor[] saved = tape.read();
    Tensor x = saved[0];
    Tensor z = activation.backward(activated, saved[1]);
    Tensors.drop(activated);
    in.show(z, x, visitor);
    return in.inputCotangent(z, 0);
  }
}
