package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.ParameterGroup;

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
 * an input are layers of their own. Layers that it was not made for are passed over. Sums are fp32
 * whatever precision the model runs in.
 */
public final class KroneckerFactors implements Statistic {
  /** One weight and the sums of its factors. */
  private record Layer(LinearLayers.Member member, Tensor inputs, Tensor gradients) {}

  private final MatrixSums sums = new MatrixSums();
  private final Map<ParameterGroup, List<Layer>> layers = new HashMap<>(); // by identity
  private Pass pass = new Pass(null, false, null);
  private final PeakMemory peak = new PeakMemory();

  /** Sums of zero. */
  public KroneckerFactors(LinearLayers layers) {
    layers
        .stacks()
        .forEach((group, stack) ->
            this.layers.put(
                group,
                stack.stream()
                    .map(member ->
                        new Layer(
                            member,
                            zeros(LayerFactor.INPUTS, member),
                            zeros(LayerFactor.GRADIENTS, member)))
                    .toList()));
  }

  private Tensor zeros(LayerFactor factor, LinearLayers.Member member) {
    return sums.zeros(factor.tensorName(member.weight()), factor.size(member.shape()));
  }

  @Override
  public boolean takesInputs() {
    return false;
  }

  @Override
  public boolean takesGradients() {
    return true;
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
    Tensor inputs = pass.first() ? MatrixSums.realRows(visit.input(), pass.realTokens()) : null;
    Tensor weights = pass.weights();
    Tensor weighted =
        weights == null ? cotangent : cotangent.mul(weights.unsqueeze(2).unsqueeze(3));
    for (Layer layer : stacked) {
      long from = layer.member.firstOutput() - visit.firstOutput();
      long outputs = layer.member.shape().outputs();
      if (from < 0 || layer.member.firstOutput() + outputs > end) {
        continue;
      }
      Tensor g = cotangent.narrow(3, from, outputs).reshape(-1, outputs);
      Tensor wg = weighted.narrow(3, from, outputs).reshape(-1, outputs);
      MatrixSums.add(layer.gradients, 1, wg, g);
      if (inputs != null) {
        MatrixSums.add(layer.inputs, 1, inputs, inputs);
      }
    }
  }

  @Override
  public long trial(Runnable passes) {
    return peak.of(passes);
  }

  @Override
  public long workspaceBytes() {
    return 0;
  }

  /** {@inheritDoc} By the name of the weight with its factor's suffix; [n, n], row by row. */
  @Override
  public Map<String, MemorySegment> byName() {
    return sums.read();
  }

  @Override
  public void store() {
    sums.store();
  }

  @Override
  public long bytes() {
    return sums.bytes();
  }

  /** {@inheritDoc} Inputs are no squares of gradients. */
  @Override
  public void scale(double factor) {
    for (List<Layer> stacked : layers.values()) {
      stacked.forEach(layer -> layer.gradients.mul_(new Scalar(factor)));
    }
  }

  @Override
  public void close() {
    sums.close();
    layers.clear();
  }
}
