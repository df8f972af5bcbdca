package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.addmm;
import static org.bytedeco.pytorch.global.torch.constant_pad_nd;
import static org.bytedeco.pytorch.global.torch.mm;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.LayerParameters.Stacked;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer y = x W^T + b, W [O, I], possibly several layers that share an input, stacked on
 * O. Knows how to run a range of its rows, so that the last block can ask for fewer. Inputs,
 * outputs and cotangents are fp32 in every {@link Precision}, so that the kernels take them as they
 * are.
 *
 * @param transposed whether the weight is stored as W^T, [I, O], as GPT-2's Conv1D does; its Fisher
 *     is then laid out alike
 */
record Linear(Stacked weight, @Nullable Stacked bias, boolean transposed) {
  static Linear read(LayerParameters parameters, String name, long outputs, long inputs) {
    return new Linear(
        parameters.weight(name + ".weight", outputs, inputs),
        parameters.read(name + ".bias", outputs),
        false);
  }

  /** With the weight stored [I, O]. */
  static Linear readTransposed(LayerParameters parameters, String name, long outputs, long inputs) {
    return new Linear(
        parameters.weight(name + ".weight", inputs, outputs),
        parameters.read(name + ".bias", outputs),
        true);
  }

  static Linear stack(LayerParameters parameters, long outputs, long inputs, String... names) {
    String[] weights = new String[names.length];
    String[] biases = new String[names.length];
    for (int i = 0; i < names.length; i++) {
      weights[i] = names[i] + ".weight";
      biases[i] = names[i] + ".bias";
    }
    return new Linear(
        parameters.stackWeights(weights, outputs, inputs),
        parameters.stack(biases, outputs),
        false);
  }

  long outputs() {
    return weight.tensor().size(transposed ? 1 : 0);
  }

  long inputs() {
    return weight.tensor().size(transposed ? 0 : 1);
  }

  /** The rows of W that belong to a range of outputs, [rows, I], as a view. */
  private Tensor rows(long firstRow, long rows) {
    return transposed
        ? weight.tensor().narrow(1, firstRow, rows).t()
        : weight.tensor().narrow(0, firstRow, rows);
  }

  /** scale * (x W^T + b) for x [B, T, I]: [B, T, O]. */
  Tensor forward(Tensor x, double scale) {
    return forward(x, scale, 0, outputs());
  }

  /** The same for {@code rows} outputs from {@code firstRow} on. */
  Tensor forward(Tensor x, double scale, long firstRow, long rows) {
    Tensor w = rows(firstRow, rows).t();
    Tensor flat = x.reshape(-1, inputs());
    Tensor b = bias == null ? null : bias.tensor().narrow(0, firstRow, rows);
    Tensor y;
    if (b == null) {
      y = product(flat, w);
    } else if (w.scalar_type().intern() == flat.scalar_type().intern()) {
      y = addmm(b, flat, w, new Scalar(scale), new Scalar(scale));
    } else {
      y = product(flat, w).add_(b).mul_(new Scalar(scale));
    }
    return y.view(x.size(0), x.size(1), rows);
  }

  /** x w in the type of w, with sums in F32, as fp32. */
  static Tensor product(Tensor x, Tensor w) {
    return mm(x.to(w.scalar_type()), w).to(x.scalar_type());
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
    return product(cotangent.reshape(-1, rows), rows(firstRow, rows))
        .view(cotangent.size(0), cotangent.size(1), cotangent.size(2), inputs());
  }

  /** Adds the squared gradients only: for a first layer, whose input needs no cotangent. */
  void tap(Tensor cotangent, Tensor input, FisherAccumulator fisher, long firstRow) {
    ParameterGroup biasGroup = bias == null ? null : bias.group();
    if (!transposed) {
      fisher.linear(weight.group(), biasGroup, firstRow, cotangent, input);
      return;
    }
    long after = outputs() - firstRow - cotangent.size(3);
    // The kernel fills all columns of [I, O] or none: those of other outputs get zeros.
    Tensor all =
        firstRow == 0 && after == 0
            ? cotangent
            : constant_pad_nd(cotangent, new long[] {firstRow, after}, new Scalar(0.0));
    fisher.transposedLinear(weight.group(), all, input);
    if (biasGroup != null) {
      fisher.bias(biasGroup, all);
    }
  }
}
