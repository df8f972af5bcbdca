package org.fishermerge.torch.nn;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * A stem and the layers behind it, with the weights of both. Not thread-safe: a network belongs to
 * one thread at a time.
 */
public final class Network<I extends Batch> implements AutoCloseable {
  private final Weights weights;
  private final Stem<I> stem;
  private final Layer layers;
  private final List<ParameterGroup> parameters;

  /**
   * A network.
   *
   * @param weights that stem and layers were read with; closed with the network
   */
  public Network(Weights weights, Stem<I> stem, Layer layers) {
    this.weights = weights;
    this.stem = stem;
    this.layers = layers;
    this.parameters = weights.groups();
  }

  /** The parameters, in the order of reading. */
  public List<ParameterGroup> parameters() {
    return parameters;
  }

  /** The parameters with their values, which may be overwritten between passes. */
  public List<Weights.Parameter> weights() {
    return weights.parameters();
  }

  /** The last layer's output, [B, T, D], in the caller's scope. */
  public Tensor forward(I batch, Tape tape) {
    LibTorch.initialize();
    try {
      Tensor embedded = Tensors.scoped(() -> stem.forward(batch, tape));
      Tensor output = layers.forward(embedded, tape);
      Tensors.drop(embedded);
      return output;
    } finally {
      tape.attentionMask(null);
    }
  }

  /** Shows every layer to the visitor, from the last to the first. */
  public void backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor embedded = layers.backward(cotangent, tape, visitor);
    stem.backward(embedded, tape, visitor);
  }

  @Override
  public void close() {
    weights.close();
  }
}
