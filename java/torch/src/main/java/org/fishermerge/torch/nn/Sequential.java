package org.fishermerge.torch.nn;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.Tensors;

/** Layers one after the other; what one leaves behind is freed before the next runs. */
public record Sequential(List<Layer> layers) implements Layer {
  public Sequential {
    layers = List.copyOf(layers);
  }

  public Sequential(Layer... layers) {
    this(List.of(layers));
  }

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    Tensor value = x;
    for (Layer layer : layers) {
      Tensor input = value;
      value = Tensors.scoped(() -> layer.forward(input, tape));
      if (input != x) {
        Tensors.drop(input);
      }
    }
    return value;
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor value = cotangent;
    for (Layer layer : layers.reversed()) {
      Tensor output = value;
      value = Tensors.scoped(() -> layer.backward(output, tape, visitor));
      if (output != cotangent) {
        Tensors.drop(output);
      }
    }
    return value;
  }
}
