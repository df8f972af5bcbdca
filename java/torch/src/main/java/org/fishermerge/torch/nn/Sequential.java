package org.fishermerge.torch.nn;

import java.util.List;
import java.util.function.BiFunction;
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
    return chain(x, layers, (layer, input) -> layer.forward(input, tape));
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    return chain(
        cotangent, layers.reversed(), (layer, output) -> layer.backward(output, tape, visitor));
  }

  private static Tensor chain(
      Tensor first, List<Layer> layers, BiFunction<Layer, Tensor, Tensor> step) {
    Tensor value = first;
    boolean ours = false;
    for (Layer layer : layers) {
      Tensor given = value;
      value = Tensors.scoped(() -> step.apply(layer, given));
      if (ours) {
        Tensors.drop(given);
      }
      ours = true;
    }
    return value;
  }
}
