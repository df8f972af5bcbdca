package org.fishermerge.torch.statistic;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;

/**
 * The linear layers of a model, in the order in which they run: those of which factors are
 * estimated. Convolutions over patches are linear layers over patches. Found once by running an
 * example; immutable.
 */
public final class LinearLayers {
  /** For statistics without factors. */
  public static final LinearLayers NONE = new LinearLayers(Map.of());

  /**
   * One weight [O, I].
   *
   * @param weight its canonical name
   * @param firstOutput its first output among those of the matrices that it is stacked with because
   *     they share an input
   * @param shape without tokens
   */
  record Member(String weight, long firstOutput, LinearLayer shape) {}

  private final Map<ParameterGroup, List<Member>> stacks; // by identity

  private LinearLayers(Map<ParameterGroup, List<Member>> stacks) {
    this.stacks = stacks;
  }

  /**
   * Those among some parameters that a forward pass shows.
   *
   * @param studied the parameters that count
   * @param forward runs an example and shows the inputs of linear layers
   */
  public static LinearLayers shown(List<ParameterGroup> studied, Consumer<LayerVisitor> forward) {
    Map<ParameterGroup, List<Member>> stacks = new LinkedHashMap<>();
    forward.accept(visit -> {
      if (visit instanceof LayerVisit.Input input && studied.contains(input.weight())) {
        stacks.computeIfAbsent(
            input.weight(), group -> members(group, input.input().size(2), input.transposed()));
      }
    });
    return new LinearLayers(stacks);
  }

  private static List<Member> members(ParameterGroup weight, long inputs, boolean transposed) {
    List<Member> members = new ArrayList<>();
    long first = 0;
    for (ParameterGroup.Member member : weight.parameters()) {
      LinearLayer shape = new LinearLayer(member.elementCount() / inputs, inputs, transposed, 0);
      members.add(new Member(member.name(), first, shape));
      first += shape.outputs();
    }
    return List.copyOf(members);
  }

  /** By the groups of their weights. */
  Map<ParameterGroup, List<Member>> stacks() {
    return stacks;
  }

  /** Memory that the sums of a kind with factors take. */
  public long bytes(StatisticKind kind) {
    long values = 0;
    for (List<Member> stack : stacks.values()) {
      // Matrices that share an input have one Gram matrix.
      for (Member member : kind == StatisticKind.GRAM ? stack.subList(0, 1) : stack) {
        for (LayerFactor factor : kind.factors()) {
          values += factor.size(member.shape()) * factor.size(member.shape());
        }
      }
    }
    return values * Float.BYTES;
  }

  /** Their shapes, without tokens, by the canonical names of their weights. */
  public Map<String, LinearLayer> shapes() {
    Map<String, LinearLayer> shapes = new LinkedHashMap<>();
    stacks.values().forEach(stack -> stack.forEach(m -> shapes.put(m.weight(), m.shape())));
    return shapes;
  }
}
