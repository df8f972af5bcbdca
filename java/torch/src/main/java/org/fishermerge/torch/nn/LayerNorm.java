package org.fishermerge.torch.nn;

import static org.bytedeco.pytorch.global.torch.native_layer_norm;
import static org.bytedeco.pytorch.global.torch.native_layer_norm_backward;
import static org.bytedeco.pytorch.global.torch.stack;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.fishermerge.torch.nn.Weights.Parameter;

/** Layer normalisation over the last dimension. */
public record LayerNorm(Parameter scale, Parameter shift, double epsilon) implements Layer {
  public static LayerNorm read(Weights weights, String name, long width, double epsilon) {
    return new LayerNorm(
        weights.read(name + ".weight", width), weights.read(name + ".bias", width), epsilon);
  }

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    T_TensorTensorTensor_T result =
        native_layer_norm(
            x,
            new long[] {x.size(-1)},
            new TensorOptional(scale.tensor()),
            new TensorOptional(shift.tensor()),
            epsilon);
    // The tuple's elements are references into it: copies of the handles outlive it.
    tape.save(x, new Tensor(result.get1()), new Tensor(result.get2()));
    return new Tensor(result.get0());
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor[] saved = tape.read();
    Tensor input = saved[0];
    Tensor mean = saved[1];
    Tensor rstd = saved[2];
    visitor.visit(new LayerVisit.Norm(scale.group(), shift.group(), cotangent, input, mean, rstd));
    // libtorch's kernel wants one input row per cotangent row; probe by probe it needs no copies.
    TensorVector perProbe = new TensorVector();
    for (long v = 0; v < cotangent.size(0); v++) {
      perProbe.push_back(inputCotangent(cotangent.select(0, v), input, mean, rstd));
    }
    return cotangent.size(0) == 1 ? perProbe.get(0).unsqueeze(0) : stack(perProbe, 0);
  }

  private Tensor inputCotangent(Tensor cotangent, Tensor input, Tensor mean, Tensor rstd) {
    BoolPointer inputOnly = new BoolPointer(3).put(0, true).put(1, false).put(2, false);
    return native_layer_norm_backward(
            cotangent,
            input,
            new long[] {input.size(2)},
            mean,
            rstd,
            new TensorOptional(scale.tensor()),
            new TensorOptional(shift.tensor()),
            inputOnly)
        .get0();
  }
}
