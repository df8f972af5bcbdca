package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.ParameterGroup;

/**
 * The Gram matrices of linear layers' inputs, as regression means take them (Jin et al. 2023): of
 * every layer
 *
 * <pre>
 * sum_t a_t a_t^T   [I, I]     a_t the layer's input
 * </pre>
 *
 * over all tokens t of all examples but padding, and the number of these tokens. Forward passes
 * show all that they need. Matrices that are stacked because they share an input have one Gram
 * matrix, which is there under the name of each. Sums are fp32 whatever precision the model runs
 * in.
 */
public final class GramMatrices implements Statistic {
  private final LinearLayers layers;
  private final MatrixSums sums = new MatrixSums();
  private final Map<ParameterGroup, Tensor> byGroup = new HashMap<>(); // by identity
  private final Map<ParameterGroup, Long> tokens = new HashMap<>(); // by identity
  private final PeakMemory peak = new PeakMemory();
  private boolean trial;

  /** Sums of zero. */
  public GramMatrices(LinearLayers layers) {
    this.layers = layers;
    layers
        .stacks()
        .forEach((group, stack) -> {
          LinearLayers.Member first = stack.getFirst();
          Tensor sum = sums.zeros(nameOf(first), LayerFactor.GRAM.size(first.shape()));
          stack.subList(1, stack.size()).forEach(member -> sums.alias(nameOf(member), sum));
          byGroup.put(group, sum);
          tokens.put(group, 0L);
        });
  }

  private static String nameOf(LinearLayers.Member member) {
    return LayerFactor.GRAM.tensorName(member.weight());
  }

  @Override
  public boolean takesInputs() {
    return true;
  }

  @Override
  public boolean takesGradients() {
    return false;
  }

  @Override
  public void begin(Pass pass) {}

  @Override
  public void end() {}

  @Override
  public boolean needsAllInputs() {
    return false;
  }

  @Override
  public void visit(LayerVisit visit) {
    if (visit instanceof LayerVisit.Input input) {
      Tensor sum = byGroup.get(input.weight());
      if (sum != null) {
        try (PointerScope scope = new PointerScope()) {
          add(input, sum);
          peak.look();
        }
      }
    }
  }

  private void add(LayerVisit.Input visit, Tensor sum) {
    Tensor input = visit.input();
    Tensor real = visit.realTokens();
    Tensor used = MatrixSums.realRows(input, real);
    MatrixSums.add(sum, trial ? 0 : 1, used, used);
    if (!trial) {
      long count = real == null ? used.size(0) : (long) real.sum().item_double();
      tokens.merge(visit.weight(), count, Long::sum);
    }
  }

  /** Over how many tokens each layer's matrix was summed, by the canonical name of its weight. */
  public Map<String, Long> tokens() {
    Map<String, Long> byWeight = new LinkedHashMap<>();
    layers
        .stacks()
        .forEach((group, stack) ->
            stack.forEach(member -> byWeight.put(member.weight(), tokens.getOrDefault(group, 0L))));
    return byWeight;
  }

  /** Takes the tokens of sums that were computed apart, as {@link #tokens} gives them. */
  public void setTokens(Map<String, Long> counts) {
    layers
        .stacks()
        .forEach((group, stack) ->
            tokens.put(group, counts.getOrDefault(stack.getFirst().weight(), 0L)));
  }

  @Override
  public long trial(Runnable passes) {
    trial = true;
    try {
      return peak.of(passes);
    } finally {
      trial = false;
    }
  }

  @Override
  public long workspaceBytes() {
    return 0;
  }

  /** {@inheritDoc} By the name of the weight with the factor's suffix; [n, n], row by row. */
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
  public void scale(double factor) {}

  @Override
  public void close() {
    sums.close();
  }
}
