package org.fishermerge.torch.nn;

import java.util.Arrays;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.Weights.Parameter;
import org.fishermerge.torch.runtime.Precision;
import org.fishermerge.torch.runtime.Reproducible;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer y = x W^T + b, W [O, I], possibly several layers that share an input, stacked on
 * O. Can run a range of its outputs, for attention whose queries are fewer than its keys. Inputs,
 * outputs and cotangents are fp32 in every {@link Precision}, so that the kernels take them as they
 * are.
 *
 * @param transposed whether the weight is stored as W^T, [I, O], as GPT-2's Conv1D does; its
 *     statistics are then laid out alike
 */
public record Linear(Parameter weight, @Nullable Parameter bias, boolean transposed)
    implements Layer {
  /** A weight [outputs, inputs] and a bias. */
  public static Linear read(Weights weights, String name, long outputs, long inputs) {
    return new Linear(
        weights.matrix(name + ".weight", outputs, inputs),
        weights.read(name + ".bias", outputs),
        false);
  }

  /** A weight [inputs, outputs] and a bias. */
  public static Linear readTransposed(Weights weights, String name, long outputs, long inputs) {
    return new Linear(
        weights.matrix(name + ".weight", inputs, outputs),
        weights.read(name + ".bias", outputs),
        true);
  }

  /** Layers of one shape that share an input. */
  public static Linear stack(Weights weights, long outputs, long inputs, String... names) {
    String[] matrices = new String[names.length];
    String[] biases = new String[names.length];
    for (int i = 0; i < names.length; i++) {
      matrices[i] = names[i] + ".weight";
      biases[i] = names[i] + ".bias";
    }
    return new Linear(
        weights.stackMatrices(matrices, outputs, inputs), weights.stack(biases, outputs), false);
  }

  /** Layers of one shape and without biases that share an input. */
  public static Linear stackWithoutBias(
      Weights weights, long outputs, long inputs, String... names) {
    String[] matrices = Arrays.stream(names).map(name -> name + ".weight").toArray(String[]::new);
    return new Linear(weights.stackMatrices(matrices, outputs, inputs), null, false);
  }

  /** Outputs O. */
  public long outputs() {
    return weight.tensor().size(transposed ? 1 : 0);
  }

  /** Inputs I. */
  public long inputs() {
    return weight.tensor().size(transposed ? 0 : 1);
  }

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    showInput(x, tape);
    tape.save(x);
    return apply(x, 1);
  }

  /** Shows the input on the way forward, [B, T, I], to whom it may concern. */
  void showInput(Tensor x, Tape tape) {
    tape.show(weight.group(), transposed, x);
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    show(cotangent, tape.read()[0], visitor);
    return inputCotangent(cotangent, 0);
  }

  /** scale * (x W^T + b) for x [B, T, I]: [B, T, O]. */
  Tensor apply(Tensor x, double scale) {
    return apply(x, scale, 0, outputs());
  }

  /** The same for {@code outputs} outputs from {@code first} on. */
  Tensor apply(Tensor x, double scale, long first, long outputs) {
    Tensor w = rows(first, outputs).t();
    Tensor flat = x.reshape(-1, inputs());
    Tensor b = bias == null ? null : bias.tensor().narrow(0, first, outputs);
    Tensor y;
    if (b == null) {
      y = product(flat, w);
      if (scale != 1) {
        y.mul_(new Scalar(scale));
      }
    } else if (w.scalar_type().intern() == flat.scalar_type().intern()) {
      y = Reproducible.addmm(b, flat, w, scale);
    } else {
      y = product(flat, w).add_(b).mul_(new Scalar(scale));
    }
    return y.view(x.size(0), x.size(1), outputs);
  }

  /** The rows of W that belong to a range of outputs, [rows, I], as a view. */
  private Tensor rows(long first, long rows) {
    return transposed
        ? weight.tensor().narrow(1, first, rows).t()
        : weight.tensor().narrow(0, first, rows);
  }

  /** x w in the type of w, with sums in F32, as fp32. */
  private static Tensor product(Tensor x, Tensor w) {
    return Reproducible.matmul(x.to(w.scalar_type()), w).to(x.scalar_type());
  }

  /** Shows the whole layer, with the input that forward had. */
  void show(Tensor cotangent, Tensor input, LayerVisitor visitor) {
    show(cotangent, input, 0, visitor);
  }

  /** Shows the outputs from {@code first} on, as many as the cotangent has. */
  void show(Tensor cotangent, Tensor input, long first, LayerVisitor visitor) {
    visitor.visit(
        new LayerVisit.Linear(
            weight.group(),
            bias == null ? null : bias.group(),
            transposed,
            first,
            cotangent,
            input));
  }

  /** [V, B, T, I] from the cotangent of some outputs from {@code first} on. */
  Tensor inputCotangent(Tensor cotangent, long first) {
    long outputs = cotangent.size(3);
    return product(cotangent.reshape(-1, outputs), rows(first, outputs))
        .view(cotangent.size(0), cotangent.size(1), cotangent.size(2), inputs());
  }
}
