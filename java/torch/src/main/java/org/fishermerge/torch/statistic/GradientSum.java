package org.fishermerge.torch.statistic;

import static org.bytedeco.pytorch.global.torch.zeros;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Reproducible;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The plain gradient of a loss: what backward passes with one cotangent per example show, summed
 * over examples. The cotangents carry the examples' weights. Not thread-safe.
 */
public final class GradientSum implements LayerVisitor, AutoCloseable {
  private final Map<ParameterGroup, Tensor> sums = new LinkedHashMap<>();

  /** Sums of zero for these parameters; others are passed over. */
  public GradientSum(List<ParameterGroup> groups) {
    LibTorch.initialize();
    for (ParameterGroup group : groups) {
      sums.put(
          group,
          Tensors.onlyResultOf(() -> LibTorch.onDevice(zeros(new long[] {group.elementCount()}))));
    }
  }

  /** The sum of one group, fp32, flat, its members one after the other; valid until closed. */
  public Tensor of(ParameterGroup group) {
    Tensor sum = sums.get(group);
    if (sum == null) {
      throw new IllegalArgumentException("a parameter group of another model");
    }
    return sum;
  }

  /** Sets all sums to zero. */
  public void clear() {
    sums.values().forEach(Tensor::zero_);
  }

  @Override
  public void visit(LayerVisit visit) {
    try (PointerScope scope = new PointerScope()) {
      switch (visit) {
        case LayerVisit.Input _ -> {}
        case LayerVisit.Linear linear -> linear(linear);
        case LayerVisit.Norm norm -> norm(norm);
        case LayerVisit.Embedding embedding -> embedding(embedding);
        case LayerVisit.Added added -> added(added);
        case LayerVisit.Gradient gradient -> add(gradient.parameter(), gradient.gradient());
      }
    }
  }

  private boolean has(@Nullable ParameterGroup group) {
    return group != null && sums.containsKey(group);
  }

  private void add(ParameterGroup group, Tensor gradient) {
    if (has(group)) {
      of(group).add_(gradient.reshape(-1));
    }
  }

  private void linear(LayerVisit.Linear visit) {
    long outputs = visit.cotangent().size(3);
    Tensor cotangent = rows(visit.cotangent());
    ParameterGroup weight = visit.weight();
    if (weight != null && has(weight)) {
      long inputs = visit.input().size(2);
      Tensor input = visit.input().reshape(-1, inputs);
      if (visit.transposed()) {
        Tensor sum =
            of(weight)
                .view(inputs, weight.elementCount() / inputs)
                .narrow(1, visit.firstOutput(), outputs);
        Reproducible.addProduct(sum, input.t(), cotangent);
      } else {
        Tensor sum =
            of(weight)
                .view(weight.elementCount() / inputs, inputs)
                .narrow(0, visit.firstOutput(), outputs);
        Reproducible.addProduct(sum, cotangent.t(), input);
      }
    }
    ParameterGroup bias = visit.bias();
    if (bias != null && has(bias)) {
      of(bias).narrow(0, visit.firstOutput(), outputs).add_(sum(cotangent));
    }
  }

  private void norm(LayerVisit.Norm visit) {
    if (!has(visit.scale())) {
      return;
    }
    Tensor cotangent = rows(visit.cotangent());
    Tensor normalized =
        visit.input().sub(visit.mean()).mul_(visit.rstd()).reshape(-1, visit.input().size(2));
    add(visit.scale(), sum(normalized.mul_(cotangent)));
    add(visit.shift(), sum(cotangent));
  }

  private void embedding(LayerVisit.Embedding visit) {
    if (has(visit.table())) {
      of(visit.table())
          .view(visit.rows(), visit.cotangent().size(3))
          .index_add_(0, visit.ids().view(-1), rows(visit.cotangent()));
    }
  }

  private void added(LayerVisit.Added visit) {
    if (has(visit.parameter())) {
      Tensor cotangent = visit.cotangent();
      long features = cotangent.size(2) * cotangent.size(3);
      add(visit.parameter(), sum(cotangent.reshape(-1, features)));
    }
  }

  /** [1, B, T, O] as [B T, O]. */
  private static Tensor rows(Tensor cotangent) {
    if (cotangent.size(0) != 1) {
      throw new IllegalArgumentException("a loss has one cotangent per example");
    }
    return cotangent.reshape(-1, cotangent.size(3));
  }

  private static Tensor sum(Tensor rows) {
    return rows.sum(new long[] {0}, false, new ScalarTypeOptional());
  }

  @Override
  public void close() {
    sums.values().forEach(Tensor::close);
    sums.clear();
  }
}
