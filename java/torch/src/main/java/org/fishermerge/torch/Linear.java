package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.addmm;
import static org.bytedeco.pytorch.global.torch.mm;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.LayerParameters.Stacked;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer y = x W^T + b, W [O, I], possibly several layers that share an input, stacked on
 * O. Knows how to run a range of its rows, so that the last block can ask for fewer.
 */
record Linear(Stacked weight, @Nullable Stacked bias) {
  static Linear read(LayerParameters parameters, String name, long outputs, long inputs) {
    return new Linear(
        parameters.read(name + ".weight", outputs, inputs),
        parameters.read(name + ".bias", outputs));
  }

  static Linear stack(LayerParameters parameters, long outputs, long inputs, String... names) {
    String[] weights = new String[names.length];
    String[] biases = new String[names.length];
    for (int i = 0; i < names.length; i++) {
      weights[i] = names[i] + ".weight";
      biases[i] = names[i] + ".bias";
    }
    return new Linear(
        parameters.stack(weights, outputs, inputs), parameters.stack(biases, outputs));
  }

  long outputs() {
    return weight.tensor().size(0);
  }

  long inputs() {
    return weight.tensor().size(1);
  }

  /** scale * (x W^T + b) for x [B, T, I]: [B, T, O]. */
  Tensor forward(Tensor x, double scale) {
    return forward(x, scale, 0, outputs());
  }

  /** The same for {@code rows} outputs from {@code firstRow} on. */
  Tensor forward(Tensor x, double scale, long firstRow, long rows) {
    Tensor w = weight.tensor().narrow(0, firstRow, rows).t();
    Tensor flat = x.reshape(-1, inputs());
    Tensor y;
    if (bias == null) {
      y = mm(flat, w);
    } else {
      Tensor b = bias.tensor().narrow(0, firstRow, rows);
      y = addmm(b, flat, w, new Scalar(scale), new Scalar(scale));
    }
    return y.view(x.size(0), x.size(1), rows);
  }

  /**
   * Taps the layer and returns the cotangent of its input, [V, B, T, I], from that of its output,
   * [V, B, T, rows].
   */
  Tensor backward(Tensor cotangent, Tensor input, FisherAccumulator fisher) {
    return backward(cotangent, input, fisher, 0);
  }

  Tensor backward(Tensor cotangent, Tensor input, FisherAccumulator fisher, long firstRow) {
    tap(cotangent, input, fisher, firstRow);
    long rows = cotangent.size(3);
    Tensor w = weight.tensor().narrow(0, firstRow, rows);
    return mm(cotangent.reshape(-1, rows), w)
        .view(cotangent.size(0), cotangent.size(1), cotangent.size(2), inputs());
  }

  /** Adds the squared gradients only: for a first layer, whose input needs no cotangent. */
  void tap(Tensor cotangent, Tensor input, FisherAccumulator fisher, long firstRow) {
    fisher.linear(weight.group(), bias == null ? null : bias.group(), firstRow, cotangent, input);
  }
}
