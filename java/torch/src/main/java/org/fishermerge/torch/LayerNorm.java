package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.native_layer_norm;
import static org.bytedeco.pytorch.global.torch.native_layer_norm_backward;
import static org.bytedeco.pytorch.global.torch.stack;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.fishermerge.torch.LayerParameters.Stacked;
import org.jspecify.annotations.Nullable;

/** Layer normalisation over the last dimension. */
record LayerNorm(Stacked scale, Stacked shift, double epsilon) {
  /** What the backward pass needs: the input [B, T, D] and its statistics [B, T, 1]. */
  record Saved(Tensor input, Tensor mean, Tensor rstd) implements AutoCloseable {
    Saved retain() {
      Tensors.retain(input);
      Tensors.retain(mean);
      Tensors.retain(rstd);
      return this;
    }

    /** What was saved of some examples; in the caller's scope. */
    Saved of(@Nullable Tensor examples) {
      return new Saved(
          Tensors.entries(input, examples),
          Tensors.entries(mean, examples),
          Tensors.entries(rstd, examples));
    }

    @Override
    public void close() {
      input.close();
      mean.close();
      rstd.close();
    }
  }

  /** The normalised output and what was saved on the way; both live in the caller's scope. */
  record Output(Tensor value, Saved saved) {}

  static LayerNorm read(LayerParameters parameters, String name, long width, double epsilon) {
    return new LayerNorm(
        parameters.read(name + ".weight", width), parameters.read(name + ".bias", width), epsilon);
  }

  Output forward(Tensor x) {
    T_TensorTensorTensor_T result =
        native_layer_norm(
            x,
            new long[] {x.size(-1)},
            new TensorOptional(scale.tensor()),
            new TensorOptional(shift.tensor()),
            epsilon);
    // The tuple's elements are references into it: copies of the handles outlive it.
    return new Output(
        new Tensor(result.get0()),
        new Saved(x, new Tensor(result.get1()), new Tensor(result.get2())));
  }

  /** Taps the layer and returns the cotangent of its input, [V, B, T, D]. */
  Tensor backward(Tensor cotangent, Saved saved, FisherAccumulator fisher) {
    fisher.layerNorm(scale.group(), shift.group(), cotangent, saved.input, saved.mean, saved.rstd);
    // libtorch's kernel wants one input row per cotangent row; probe by probe it needs no copies.
    TensorVector perProbe = new TensorVector();
    for (long v = 0; v < cotangent.size(0); v++) {
      perProbe.push_back(inputCotangent(cotangent.select(0, v), saved));
    }
    return cotangent.size(0) == 1 ? perProbe.get(0).unsqueeze(0) : stack(perProbe, 0);
  }

  private Tensor inputCotangent(Tensor cotangent, Saved saved) {
    BoolPointer inputOnly = new BoolPointer(3).put(0, true).put(1, false).put(2, false);
    return native_layer_norm_backward(
            cotangent,
            saved.input,
            new long[] {saved.input.size(2)},
            saved.mean,
            saved.rstd,
            new TensorOptional(scale.tensor()),
            new TensorOptional(shift.tensor()),
            inputOnly)
        .get0();
  }
}
