package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * The Kronecker factors of the Fisher information (Martens and Grosse 2015): of every linear layer
 * the sum over examples of
 *
 * <pre>
 * A = sum_t a_t a_t^T   [I, I]     a_t the layer's input,
 * G = E_y sum_t g_t g_t^T   [O, O]     g_t = d log p(y|x) / d (the layer's output)
 * </pre>
 *
 * over the tokens t on whose output the logits depend. Matrices that are stacked because they share
 * an input are layers of their own. Convolutions over patches are linear layers over patches. Other
 * layers, and parameters that it was not made for, are passed over. Sums are fp32 whatever
 * precision the model runs in.
 */
public final class KroneckerFactors implements Statistic {
  /** One weight [O, I] and the sums of its factors, fp32, where the model is. */
  private record Layer(
      String weight, long firstOutput, LinearLayer shape, Map<LayerFactor, Tensor> sums) {}

  private final Map<ParameterGroup, List<Layer>> layers = new HashMap<>(); // by identity
  private final List<ParameterGroup> order = new ArrayList<>();
  private final Map<Tensor, Tensor> mirrors = new HashMap<>(); // by address
  private final List<ParameterGroup> groups;
  private Pass pass = new Pass(null, false, null);
  private final PeakMemory peak = new PeakMemory();

  /**
   * No sums yet: which groups are weights of linear layers shows when layers are visited.
   *
   * @param groups the parameters that are studied
   */
  public KroneckerFactors(List<ParameterGroup> groups) {
    this.groups = groups;
  }

  /** Makes the sums of a layer, if it is studied and was not visited before. */
  private void make(ParameterGroup weight, long inputs, boolean transposed) {
    if (layers.containsKey(weight) || !groups.contains(weight)) {
      return;
    }
    List<Layer> stacked = new ArrayList<>();
    long first = 0;
    for (ParameterGroup.Member member : weight.parameters()) {
      LinearLayer shape = new LinearLayer(member.elementCount() / inputs, inputs, transposed, 0);
      Map<LayerFactor, Tensor> sums = new EnumMap<>(LayerFactor.class);
      for (LayerFactor factor : StatisticKind.KRONECKER.factors()) {
        long n = factor.size(shape);
        sums.put(factor, Tensors.onlyResultOf(() -> LibTorch.onDevice(torch.zeros(n, n))));
      }
      stacked.add(new Layer(member.name(), first, shape, sums));
      first += shape.outputs();
    }
    layers.put(weight, stacked);
    order.add(weight);
  }

  @Override
  public void begin(Pass next) {
    this.pass = next;
  }

  @Override
  public void end() {
    this.pass = new Pass(null, false, null);
  }

  @Override
  public boolean needsAllInputs() {
    return true;
  }

  @Override
  public void visit(LayerVisit visit) {
    if (!(visit instanceof LayerVisit.Linear linear)) {
      return;
    }
    ParameterGroup weight = linear.weight();
    if (weight != null) {
      make(weight, linear.input().size(2), linear.transposed());
      List<Layer> stacked = layers.get(weight);
      if (stacked != null) {
        try (PointerScope scope = new PointerScope()) {
          add(linear, stacked);
        }
        peak.look();
      }
    }
  }

  private void add(LayerVisit.Linear visit, List<Layer> stacked) {
    Tensor cotangent = visit.cotangent(); // [V, B, T, outputs]
    long end = visit.firstOutput() + cotangent.size(3);
    Tensor inputs = pass.first() ? usedInputs(visit.input()) : null;
    Tensor weights = pass.weights();
    Tensor weighted =
        weights == null ? cotangent : cotangent.mul(weights.unsqueeze(2).unsqueeze(3));
    for (Layer layer : stacked) {
      long from = layer.firstOutput - visit.firstOutput();
      long outputs = layer.shape.outputs();
      if (from < 0 || layer.firstOutput + outputs > end) {
        continue;
      }
      Tensor g = cotangent.narrow(3, from, outputs).reshape(-1, outputs);
      Tensor wg = weighted.narrow(3, from, outputs).reshape(-1, outputs);
      LibTorch.exactly(() -> sum(layer, LayerFactor.GRADIENTS).addmm_(wg.t(), g));
      if (inputs != null) {
        LibTorch.exactly(() -> sum(layer, LayerFactor.INPUTS).addmm_(inputs.t(), inputs));
      }
    }
  }

  /** The inputs of all examples' real tokens, [tokens, I]; those of padding as zeros. */
  private Tensor usedInputs(Tensor input) {
    Tensor real = pass.realTokens();
    // Where only one token of each example is used, that is a real one.
    Tensor used =
        real == null || real.size(1) != input.size(1) ? input : input.mul(real.unsqueeze(2));
    return used.reshape(-1, input.size(2));
  }

  private static Tensor sum(Layer layer, LayerFactor factor) {
    return Objects.requireNonNull(layer.sums.get(factor));
  }

  /** The layers that were visited, by the canonical names of their weights. */
  public Map<String, LinearLayer> layers() {
    Map<String, LinearLayer> byWeight = new LinkedHashMap<>();
    for (ParameterGroup group : order) {
      for (Layer layer : Objects.requireNonNull(layers.get(group))) {
        byWeight.put(layer.weight, layer.shape);
      }
    }
    return byWeight;
  }

  @Override
  public long peakOf(Runnable backward) {
    return peak.of(backward);
  }

  @Override
  public long workspaceBytes() {
    return 0;
  }

  /** {@inheritDoc} By the name of the weight with its factor's suffix; [n, n], row by row. */
  @Override
  public Map<String, MemorySegment> byName() {
    Map<String, MemorySegment> byName = new LinkedHashMap<>();
    for (ParameterGroup group : order) {
      for (Layer layer : Objects.requireNonNull(layers.get(group))) {
        layer.sums.forEach((factor, sum) -> byName.put(factor.tensorName(layer.weight), read(sum)));
      }
    }
    return byName;
  }

  /** The values of a sum in the process's memory. */
  private MemorySegment read(Tensor sum) {
    if (!sum.is_cuda()) {
      return Tensors.segment(sum);
    }
    Tensor mirror =
        mirrors.computeIfAbsent(sum, any -> Tensors.onlyResultOf(() -> sum.cpu().contiguous()));
    mirror.copy_(sum);
    return Tensors.segment(mirror);
  }

  @Override
  public void store() {
    mirrors.forEach((sum, mirror) -> sum.copy_(mirror));
  }

  @Override
  public long bytes() {
    return layers.values().stream()
        .flatMap(List::stream)
        .flatMap(layer -> layer.sums.values().stream())
        .mapToLong(sum -> sum.numel() * Float.BYTES)
        .sum();
  }

  /** {@inheritDoc} Inputs are no squares of gradients. */
  @Override
  public void scale(double factor) {
    for (List<Layer> stacked : layers.values()) {
      stacked.forEach(layer -> sum(layer, LayerFactor.GRADIENTS).mul_(new Scalar(factor)));
    }
  }

  @Override
  public void close() {
    layers.values().stream()
        .flatMap(List::stream)
        .flatMap(layer -> layer.sums.values().stream())
        .forEach(Tensor::close);
    mirrors.values().forEach(Tensor::close);
    layers.clear();
    mirrors.clear();
    order.clear();
  }
}
