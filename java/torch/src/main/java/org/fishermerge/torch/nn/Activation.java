package org.fishermerge.torch.nn;

import static org.bytedeco.pytorch.global.torch.gelu;
import static org.bytedeco.pytorch.global.torch.gelu_backward;
import static org.bytedeco.pytorch.global.torch.relu;
import static org.bytedeco.pytorch.global.torch.threshold_backward;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.torch.runtime.Reproducible;

/**
 * The activation of a transformer's MLP, as a function of {@code u = inputScale * z} where z is the
 * first layer's output. The scale is folded into that layer's GEMM so that quick GELU, {@code z *
 * sigmoid(1.702 z) = silu(1.702 z) / 1.702}, costs one pass over memory in each direction.
 */
public enum Activation implements Layer {
  QUICK_GELU("quick_gelu", 1.702) {
    @Override
    Tensor of(Tensor u) {
      return Reproducible.each(u, torch::silu_out).mul_(new Scalar(1 / 1.702));
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      return Reproducible.each(gradient, u, torch::silu_backward_out);
    }
  },
  GELU("gelu", 1) {
    @Override
    Tensor of(Tensor u) {
      return gelu(u, "none");
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      // oneDNN's kernel, which libtorch takes here, does not broadcast.
      return gelu_backward(gradient, u.expand_as(gradient).contiguous(), "none");
    }
  },
  GELU_TANH("gelu_new", 1) {
    @Override
    Tensor of(Tensor u) {
      return Reproducible.each(u, (into, x) -> torch.gelu_out(into, x, "tanh"));
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      return Reproducible.each(
          gradient, u, (into, g, x) -> torch.gelu_backward_out(into, g, x, "tanh"));
    }
  },
  RELU("relu", 1) {
    @Override
    Tensor of(Tensor u) {
      return relu(u);
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      return threshold_backward(gradient, u.expand_as(gradient), new Scalar(0.0));
    }
  },
  SILU("silu", 1) {
    @Override
    Tensor of(Tensor u) {
      return Reproducible.each(u, torch::silu_out);
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      return Reproducible.each(gradient, u, torch::silu_backward_out);
    }
  },
  TANH("tanh", 1) {
    @Override
    Tensor of(Tensor u) {
      return u.tanh();
    }

    @Override
    Tensor backward(Tensor gradient, Tensor u) {
      Tensor y = u.tanh();
      return gradient.mul(y.mul_(y).neg_().add_(new Scalar(1.0)));
    }
  };

  private final String configName;
  final double inputScale;

  Activation(String configName, double inputScale) {
    this.configName = configName;
    this.inputScale = inputScale;
  }

  /** The activation of u, a new tensor. */
  abstract Tensor of(Tensor u);

  /** dL/dz from dL/dy; {@code u} broadcasts over leading dimensions of the gradient. */
  abstract Tensor backward(Tensor gradient, Tensor u);

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    Tensor u = inputScale == 1 ? x : x.mul(new Scalar(inputScale));
    tape.save(u);
    return of(u);
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    return backward(cotangent, tape.read()[0]);
  }

  /** By the name in a Hugging Face config ({@code hidden_act}, {@code activation_function}). */
  public static Activation named(String name, String where) {
    String known = ModelConfig.activation(name);
    for (Activation activation : values()) {
      if (activation.configName.equals(known)) {
        return activation;
      }
    }
    throw new InputException(
        where
            + ": the activation \""
            + name
            + "\" is not supported; expected quick_gelu, gelu, gelu_new, relu, silu or tanh, or another"
            + " name of one of these functions");
  }
}
