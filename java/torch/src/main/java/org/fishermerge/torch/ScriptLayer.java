package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.im2col;
import static org.bytedeco.pytorch.global.torch.native_layer_norm;

import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * An operator of a TorchScript graph that a kernel understands: the squares of its parameters'
 * per-example gradients follow from its arguments and the cotangent of its output. Whether the
 * examples of a batch lie as the operator's layer here assumes is for {@link ScriptClassifier} to
 * prove.
 */
sealed interface ScriptLayer {
  /** The parameters that it covers; the others of the operator are null in it. */
  Stream<ParameterGroup> parameters();

  /** Shows one call. */
  void accumulate(Call call, LayerVisitor visitor);

  /** Where an operator's tensors have their examples. */
  enum Layout {
    /** [B, ...] or [B * T, ...]. */
    EXAMPLES_FIRST,
    /** [T, B, ...] or [T * B, ...]. */
    TIME_FIRST,
    /** The arguments have none; the output was spread over the examples, [B, ...]. */
    SHARED
  }

  /**
   * The operator on a batch.
   *
   * @param examples B
   * @param arguments of the operator; null where it is a parameter
   * @param cotangent of its output, [V, *output], contiguous
   * @param layout how examples lie in the operator's tensors
   */
  record Call(long examples, @Nullable IValue[] arguments, Tensor cotangent, Layout layout) {
    private static final double ROUNDING = 1e-6;

    /** A tensor among the arguments, its last dimension features, examples first. */
    Tensor tensor(int argument) {
      return examplesAt(0, 1, new Tensor(argument(argument).toTensor()));
    }

    /** A tensor of ids, which has no features, examples first. */
    Tensor ids(int argument) {
      return examplesAt(0, 0, new Tensor(argument(argument).toTensor()));
    }

    IValue argument(int argument) {
      return Objects.requireNonNull(arguments[argument]);
    }

    /** The cotangent with examples second, [V, B, ...]. */
    Tensor g() {
      return examplesAt(1, 1, cotangent);
    }

    /**
     * Whether an example is reached by its own cotangent only, where probe v is one of example v's
     * logits alone.
     */
    boolean examplesAreApart() {
      float[] values = Tensors.floats(g().reshape(examples, examples, -1));
      int own = Math.toIntExact(values.length / (examples * examples));
      double largest = 0;
      double stray = 0;
      for (int i = 0; i < values.length; i++) {
        long probe = i / (own * examples);
        double size = Math.abs(values[i]);
        largest = Math.max(largest, size);
        if (i / own % examples != probe) {
          stray = Math.max(stray, size);
        }
      }
      return stray <= ROUNDING * largest;
    }

    private Tensor examplesAt(int dimension, int features, Tensor tensor) {
      if (layout != Layout.TIME_FIRST) {
        return tensor;
      }
      boolean apart = tensor.dim() - dimension - features > 1;
      return (apart ? tensor : tensor.unflatten(dimension, -1, examples))
          .transpose(dimension, dimension + 1L);
    }
  }

  /**
   * A product with a matrix, W [O, I] or, transposed, [I, O]. All dimensions between the examples
   * and the features count as tokens.
   *
   * @param input which argument is multiplied
   */
  record Product(
      int input, @Nullable ParameterGroup weight, boolean transposed, @Nullable ParameterGroup bias)
      implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(weight, bias).filter(Objects::nonNull);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      add(call.examples(), call.g(), call.tensor(input), weight, transposed, bias, visitor);
    }

    private static void add(
        long examples,
        Tensor g,
        Tensor x,
        @Nullable ParameterGroup weight,
        boolean transposed,
        @Nullable ParameterGroup bias,
        LayerVisitor visitor) {
      Tensor cotangent = g.reshape(g.size(0), examples, -1, g.size(-1)).contiguous();
      if (weight != null) {
        Tensor a = x.reshape(examples, -1, x.size(-1)).contiguous();
        visitor.visit(new LayerVisit.Linear(weight, bias, transposed, 0, cotangent, a));
      } else if (bias != null) {
        visitor.visit(new LayerVisit.Linear(null, bias, transposed, 0, cotangent, x));
      }
    }
  }

  /**
   * A convolution in one or two dimensions and one group: the product of the weight, [O, C, k...],
   * with the patches under it.
   *
   * @param kernel its last two dimensions, the first of them 1 for one-dimensional convolutions
   */
  record Convolution(
      @Nullable ParameterGroup weight,
      @Nullable ParameterGroup bias,
      boolean twoDimensional,
      long[] kernel)
      implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(weight, bias).filter(Objects::nonNull);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      Tensor x = call.tensor(0);
      if (!twoDimensional) {
        x = x.unsqueeze(2);
      }
      Tensor patches =
          im2col(
                  x,
                  kernel,
                  plane(call.argument(5), 1), // dilation
                  plane(call.argument(4), 0), // padding
                  plane(call.argument(3), 1)) // stride
              .transpose(1, 2);
      Tensor g = call.g().flatten(3, -1).transpose(2, 3); // [V, B, positions, O]
      Product.add(call.examples(), g, patches, weight, false, bias, visitor);
    }

    private long[] plane(IValue argument, long otherwise) {
      long[] values = argument.toIntVector().get();
      if (!twoDimensional) {
        return new long[] {otherwise, values[0]};
      }
      return values.length == 1 ? new long[] {values[0], values[0]} : values;
    }
  }

  /** Layer normalisation with scale and shift. */
  record Normalization(ParameterGroup scale, ParameterGroup shift) implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(scale, shift);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      Tensor g = call.g();
      long width = scale.elementCount();
      Tensor input = call.tensor(0).reshape(call.examples(), -1, width).contiguous();
      T_TensorTensorTensor_T statistics =
          native_layer_norm(
              input,
              new long[] {width},
              new TensorOptional(),
              new TensorOptional(),
              call.argument(4).toDouble());
      visitor.visit(
          new LayerVisit.Norm(
              scale,
              shift,
              g.reshape(g.size(0), call.examples(), -1, width).contiguous(),
              input,
              statistics.get1(),
              statistics.get2()));
    }
  }

  /** Batch normalisation by running statistics, which is one scale and shift for each channel. */
  record ChannelNormalization(@Nullable ParameterGroup scale, @Nullable ParameterGroup shift)
      implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(scale, shift).filter(Objects::nonNull);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      Tensor x = call.tensor(0);
      long channels = x.size(1);
      Tensor g = call.g();
      g = g.reshape(g.size(0), g.size(1), 1, channels, -1);
      if (shift != null) {
        visitor.visit(new LayerVisit.Added(shift, overPositions(g)));
      }
      if (scale != null) {
        Tensor mean = call.tensor(3).reshape(channels, 1);
        Tensor variance = call.tensor(4).reshape(channels, 1);
        Tensor rstd = variance.add(call.argument(7).toScalar()).rsqrt_();
        Tensor normalized = x.reshape(x.size(0), 1, channels, -1).sub(mean).mul_(rstd);
        visitor.visit(new LayerVisit.Added(scale, overPositions(g.mul(normalized))));
      }
    }

    private static Tensor overPositions(Tensor values) {
      return values.sum(new long[] {-1}, false, new ScalarTypeOptional());
    }
  }

  /** A table [rows, O] that is looked up by ids. */
  record Embedding(ParameterGroup table, long rows) implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(table);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      Tensor ids = call.ids(1).to(ScalarType.Long);
      Tensor g = call.g();
      long examples = call.examples();
      if (call.layout() == Layout.SHARED) {
        ids = ids.reshape(1, -1).expand(examples, -1);
      }
      ids = ids.reshape(examples, -1).contiguous();
      g = g.reshape(g.size(0), examples, -1, g.size(-1));
      long padding = call.argument(2).toInt();
      if (padding >= 0) {
        // That row is never trained: its gradient is zero by definition.
        g = g.masked_fill(ids.eq(new Scalar(padding)).unsqueeze(-1), new Scalar(0));
      }
      visitor.visit(new LayerVisit.Embedding(table, rows, g.contiguous(), ids));
    }
  }

  /** A parameter of which every example has a copy of its own, [B, ...]. */
  record Copied(ParameterGroup parameter) implements ScriptLayer {
    @Override
    public Stream<ParameterGroup> parameters() {
      return Stream.of(parameter);
    }

    @Override
    public void accumulate(Call call, LayerVisitor visitor) {
      Tensor g = call.cotangent();
      visitor.visit(
          new LayerVisit.Added(
              parameter, g.reshape(g.size(0), g.size(1), 1, parameter.elementCount())));
    }
  }
}
