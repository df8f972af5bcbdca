package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;

/**
 * Reads a tower's parameters from a checkpoint, as fp32 tensors but for the weights of linear
 * layers, checks each shape against what the configuration implies, and keeps the list of what it
 * read. Owns the tensors.
 */
final class LayerParameters implements AutoCloseable {
  /** Parameters stacked along dimension 0, and the group that their Fisher values form. */
  record Stacked(Tensor tensor, ParameterGroup group) {}

  private final Checkpoint checkpoint;

  /** Of the weights of linear layers. */
  private final torch.ScalarType productType;

  private final List<ParameterGroup> groups = new ArrayList<>();
  private final List<Tensor> owned = new ArrayList<>();

  /** In fp32. */
  LayerParameters(Checkpoint checkpoint) {
    this(checkpoint, torch.ScalarType.Float);
  }

  LayerParameters(Checkpoint checkpoint, torch.ScalarType productType) {
    this.checkpoint = checkpoint;
    this.productType = productType;
  }

  /** Every group read so far, in the order of reading. */
  List<ParameterGroup> groups() {
    return List.copyOf(groups);
  }

  /** One parameter of exactly this shape. */
  Stacked read(String name, long... shape) {
    return stack(new String[] {name}, shape);
  }

  /** The weight of a linear layer, in the type that it is multiplied in. */
  Stacked weight(String name, long... shape) {
    return stack(productType, new String[] {name}, shape);
  }

  /** Several such weights, stacked along dimension 0. */
  Stacked stackWeights(String[] names, long... shape) {
    return stack(productType, names, shape);
  }

  /** Several parameters of one shape, stacked along dimension 0. */
  Stacked stack(String[] names, long... shape) {
    return stack(torch.ScalarType.Float, names, shape);
  }

  private Stacked stack(torch.ScalarType type, String[] names, long... shape) {
    long[] stackedShape = shape.clone();
    if (names.length > 1) {
      stackedShape[0] *= names.length;
    }
    ParameterGroup.Parameter[] parameters = new ParameterGroup.Parameter[names.length];
    Tensor tensor =
        Tensors.onlyResultOf(() -> {
          Tensor filled = torch.empty(stackedShape);
          long offset = 0;
          for (int i = 0; i < names.length; i++) {
            parameters[i] = new ParameterGroup.Parameter(names[i], boxed(shape));
            copyInto(filled, offset, parameters[i]);
            offset += parameters[i].elementCount();
          }
          return LibTorch.onDevice(filled.to(type));
        });
    owned.add(tensor);
    ParameterGroup group = new ParameterGroup(parameters);
    groups.add(group);
    return new Stacked(tensor, group);
  }

  private void copyInto(Tensor target, long offset, ParameterGroup.Parameter parameter) {
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
    owned.forEach(Tensor::close);
    owned.clear();
  }
}
