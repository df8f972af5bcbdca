package org.fishermerge.torch.nn;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * Reads a model's parameters from a checkpoint, as fp32 tensors but for the weights of linear
 * layers, checks each shape against what the configuration implies, and keeps the list of what it
 * read. Owns the tensors.
 */
public final class Weights implements AutoCloseable {
  /**
   * A parameter, or several stacked along dimension 0.
   *
   * @param tensor its values; owned by the reader
   * @param group where its statistics go
   */
  public record Parameter(Tensor tensor, ParameterGroup group) {}

  private final Checkpoint checkpoint;

  /** What the parameters' names begin with where the backbone is part of a larger model. */
  private final String prefix;

  /** The dtype of the weights of linear layers. */
  private final torch.ScalarType productType;

  private final List<Parameter> parameters = new ArrayList<>();

  private Weights(Checkpoint checkpoint, torch.ScalarType productType, String prefix) {
    this.checkpoint = checkpoint;
    this.prefix = prefix;
    this.productType = productType;
  }

  /**
   * Reads a model.
   *
   * @param productType the dtype of the weights of linear layers
   * @param model reads its parameters and owns the reader from then on; if it fails, the reader is
   *     closed
   */
  public static <T> T load(
      Checkpoint checkpoint, torch.ScalarType productType, Function<Weights, T> model) {
    return load(checkpoint, productType, "", model);
  }

  /**
   * The same for a backbone whose names begin with a prefix where it stands under a head, and lack
   * it where it stands alone.
   */
  public static <T> T load(
      Checkpoint checkpoint,
      torch.ScalarType productType,
      String prefix,
      Function<Weights, T> model) {
    LibTorch.initialize();
    boolean alone = checkpoint.tensors().keySet().stream().noneMatch(n -> n.startsWith(prefix));
    Weights weights = new Weights(checkpoint, productType, alone ? "" : prefix);
    try {
      return model.apply(weights);
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  /** Every parameter read so far, in the order of reading. */
  List<Parameter> parameters() {
    return List.copyOf(parameters);
  }

  /** Where their statistics go. */
  public List<ParameterGroup> groups() {
    return parameters.stream().map(Parameter::group).toList();
  }

  /** Whether the model has such a parameter. */
  public boolean has(String name) {
    return checkpoint.has(prefix + name);
  }

  /** One parameter of exactly this shape. */
  public Parameter read(String name, long... shape) {
    return stack(new String[] {name}, shape);
  }

  /** The weight of a linear layer, in the type that it is multiplied in. */
  public Parameter matrix(String name, long... shape) {
    return stack(productType, new String[] {name}, shape);
  }

  /** A convolution's kernel [O, C, k...] as the matrix [O, C * k...] that patches meet. */
  public Parameter convolution(String name, long... shape) {
    long inputs = Arrays.stream(shape).skip(1).reduce(1, Math::multiplyExact);
    return stack(productType, new String[] {name}, shape, new long[] {shape[0], inputs});
  }

  /** Several such weights, stacked along dimension 0. */
  public Parameter stackMatrices(String[] names, long... shape) {
    return stack(productType, names, shape);
  }

  /** Several parameters of one shape, stacked along dimension 0. */
  public Parameter stack(String[] names, long... shape) {
    return stack(torch.ScalarType.Float, names, shape);
  }

  private Parameter stack(torch.ScalarType type, String[] names, long... shape) {
    long[] stackedShape = shape.clone();
    if (names.length > 1) {
      stackedShape[0] *= names.length;
    }
    return stack(type, names, shape, stackedShape);
  }

  private Parameter stack(
      torch.ScalarType type, String[] names, long[] shape, long[] stackedShape) {
    ParameterGroup.Member[] members = new ParameterGroup.Member[names.length];
    Tensor tensor =
        Tensors.onlyResultOf(() -> {
          Tensor filled = torch.empty(stackedShape);
          long offset = 0;
          for (int i = 0; i < names.length; i++) {
            members[i] = new ParameterGroup.Member(prefix + names[i], boxed(shape));
            copyInto(filled, offset, members[i]);
            offset += members[i].elementCount();
          }
          return LibTorch.onDevice(filled.to(type));
        });
    Parameter read = new Parameter(tensor, new ParameterGroup(members));
    parameters.add(read);
    return read;
  }

  private void copyInto(Tensor target, long offset, ParameterGroup.Member parameter) {
    CheckpointTensor stored = checkpoint.tensor(parameter.name());
    if (!stored.info().shape().equals(parameter.shape())) {
      throw new InputException(
          stored.file()
              + ": tensor "
              + stored.info().name()
              + " has shape "
              + stored.info().shapeText()
              + "; config.json implies "
              + parameter.shape());
    }
    checkpoint.copyFloats(
        parameter.name(),
        Tensors.segment(target)
            .asSlice(offset * Float.BYTES, parameter.elementCount() * Float.BYTES));
  }

  private static List<Long> boxed(long[] shape) {
    List<Long> list = new ArrayList<>(shape.length);
    for (long size : shape) {
      list.add(size);
    }
    return list;
  }

  @Override
  public void close() {
    parameters.forEach(parameter -> parameter.tensor.close());
    parameters.clear();
  }
}
