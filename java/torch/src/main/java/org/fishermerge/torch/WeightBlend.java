package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;
import org.fishermerge.merge.ElementTypes;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.Reproducible;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.GradientSum;

/**
 * A network whose weights are a sum of other models' weights, parameter by parameter:
 *
 * <pre>
 * theta_t = base_t + sum_k c_tk (direction_tk - base_t)
 * </pre>
 *
 * Sets them for given coefficients, in one pass over the models' files, and gives the derivative of
 * a loss by the coefficients from its gradient by the weights. Borrows all it is given; not
 * thread-safe.
 */
public final class WeightBlend {
  /** A parameter: part of a tensor of the network. */
  private record Part(Weights.Parameter parameter, ParameterGroup.Member member, long offset) {
    Tensor of(Tensor flat) {
      return flat.view(-1).narrow(0, offset, member.elementCount());
    }
  }

  private final Checkpoint base;
  private final List<Checkpoint> directions;
  private final Kernels kernels;
  private final List<Part> parts = new ArrayList<>();

  /**
   * A blend.
   *
   * @param network whose weights are set; in fp32
   * @param base has all parameters of the network; without a LoRA adapter
   * @param directions likewise, each under the base's names
   * @param kernels used while this sets weights
   * @throws InputException if a model lacks a parameter, or has it in another shape
   */
  public WeightBlend(
      Network<?> network, Checkpoint base, List<Checkpoint> directions, Kernels kernels) {
    this.base = base;
    this.directions = List.copyOf(directions);
    this.kernels = kernels;
    for (Weights.Parameter parameter : network.weights()) {
      long offset = 0;
      for (ParameterGroup.Member member : parameter.group().parameters()) {
        parts.add(new Part(parameter, member, offset));
        offset += member.elementCount();
        requireMember(base, member);
        directions.forEach(direction -> requireMember(direction, member));
      }
    }
  }

  private static void requireMember(Checkpoint model, ParameterGroup.Member member) {
    CheckpointTensor tensor = model.tensor(member.name());
    if (model.isComputed(member.name())) {
      throw new IllegalArgumentException(
          "%s: %s is made by an adapter, or in no memory off the heap: write it out first"
              .formatted(model.path(), tensor.info().name()));
    }
    if (!tensor.info().shape().equals(member.shape())) {
      throw new InputException(
          "%s: tensor %s has shape %s; the base's is %s"
              .formatted(
                  tensor.file(), tensor.info().name(), tensor.info().shapeText(), member.shape()));
    }
  }

  /** The parameters' names, in the order of coefficients. */
  public List<String> names() {
    return parts.stream().map(part -> part.member.name()).toList();
  }

  /** How many directions there are. */
  public int directions() {
    return directions.size();
  }

  /**
   * Sets the network's weights.
   *
   * @param coefficients c, [parameters][directions]
   */
  public void set(double[][] coefficients) {
    for (int t = 0; t < parts.size(); t++) {
      Part part = parts.get(t);
      long count = part.member.elementCount();
      List<WeightedInput> inputs = inputs(part.member, coefficients[t]);
      try (PointerScope scope = new PointerScope()) {
        Tensor target = part.of(part.parameter.tensor());
        boolean inPlace = !target.is_cuda() && target.dtype().isScalarType(ScalarType.Float);
        Tensor sum = inPlace ? target : torch.empty(new long[] {count});
        kernels.weightedAverage(
            new WeightedAverage(inputs, Tensors.segment(sum), ElementType.F32, count));
        if (!inPlace) {
          target.copy_(sum);
        }
      }
    }
  }

  /** The models that have a share; the others need not be read. The weights' sum is 1. */
  private List<WeightedInput> inputs(ParameterGroup.Member member, double[] coefficients) {
    List<WeightedInput> inputs = new ArrayList<>();
    double left = 1;
    for (int k = 0; k < coefficients.length; k++) {
      left -= coefficients[k];
      if (coefficients[k] != 0) {
        inputs.add(input(directions.get(k), member, coefficients[k]));
      }
    }
    if (left != 0) {
      inputs.add(input(base, member, left));
    }
    return inputs;
  }

  private static WeightedInput input(
      Checkpoint model, ParameterGroup.Member member, double weight) {
    CheckpointTensor tensor = model.tensor(member.name());
    MemorySegment values = model.source(tensor.canonicalName(), 0, member.elementCount());
    return new WeightedInput(
        values, ElementTypes.of(tensor.info().dtype()), null, ElementType.F32, 0, weight);
  }

  /**
   * The derivative of a loss by the coefficients, [parameters][directions].
   *
   * @param gradient of the loss by the network's weights
   */
  public double[][] derivative(GradientSum gradient) {
    double[][] derivative = new double[parts.size()][directions.size()];
    for (int t = 0; t < parts.size(); t++) {
      Part part = parts.get(t);
      try (PointerScope scope = new PointerScope()) {
        Tensor g = part.of(gradient.of(part.parameter.group())).cpu();
        Tensor from = values(base, part.member);
        for (int k = 0; k < directions.size(); k++) {
          Tensor along = values(directions.get(k), part.member);
          // The difference first: products with whole weights would cancel.
          derivative[t][k] = Reproducible.dot(along.sub_(from), g);
        }
      }
    }
    return derivative;
  }

  private static Tensor values(Checkpoint model, ParameterGroup.Member member) {
    Tensor values = torch.empty(new long[] {member.elementCount()});
    model.copyFloats(member.name(), Tensors.segment(values));
    return values;
  }
}
