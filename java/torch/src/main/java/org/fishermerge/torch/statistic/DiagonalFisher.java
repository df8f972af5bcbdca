package org.fishermerge.torch.statistic;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.kernels.Activations;
import org.fishermerge.kernels.Cotangents;
import org.fishermerge.kernels.KernelMemory;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TokenShape;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The diagonal Fisher information: per-example squared gradients of a model's parameters, summed
 * over probes and examples by the kernels. Parameters that it was not made for are passed over.
 *
 * <p>With {@link Squares#PER_BATCH} gradients are summed over the examples of a batch before
 * squaring, which is FusionBench's estimator. To the kernels that is one example with B*T tokens.
 */
public final class DiagonalFisher implements Statistic {
  /** What is summed before the square is taken. */
  public enum Squares {
    PER_EXAMPLE,
    PER_BATCH
  }

  private final Kernels kernels;

  /** The memory of the sums: the process's, or that of the kernels' GPU. */
  private final KernelMemory memory;

  /** Owns {@link #mirrors}: copies in the process's memory of sums that lie in a GPU's. */
  private final Arena arena = Arena.ofShared();

  private final Squares squares;
  private final Map<ParameterGroup, MemorySegment> sums = new HashMap<>(); // by identity
  private final Map<ParameterGroup, MemorySegment> mirrors = new HashMap<>(); // by identity
  private final List<ParameterGroup> groups;
  private @Nullable Tensor weights; // [V, B]
  private final PeakMemory peak = new PeakMemory();

  /**
   * Sums of zero.
   *
   * @param kernels borrowed; they work for one statistic at a time
   * @param groups the parameters that are studied
   */
  public DiagonalFisher(Kernels kernels, Squares squares, List<ParameterGroup> groups) {
    this.kernels = kernels;
    this.squares = squares;
    this.groups = groups;
    this.memory = kernels.memory();
    for (ParameterGroup group : groups) {
      sums.put(group, memory.allocate(group.elementCount() * Float.BYTES));
    }
  }

  @Override
  public boolean takesInputs() {
    return false;
  }

  @Override
  public boolean takesGradients() {
    return true;
  }

  /** {@inheritDoc} Weights are not used with {@link Squares#PER_BATCH}. */
  @Override
  public void begin(Pass pass) {
    this.weights = squares == Squares.PER_BATCH ? null : pass.weights();
  }

  @Override
  public void end() {
    this.weights = null;
  }

  @Override
  public boolean needsAllInputs() {
    return false;
  }

  private @Nullable MemorySegment weights() {
    return weights == null ? null : Tensors.segment(weights);
  }

  @Override
  public long trial(Runnable passes) {
    return peak.of(passes);
  }

  @Override
  public long workspaceBytes() {
    return kernels.workspaceBytes();
  }

  @Override
  public void visit(LayerVisit visit) {
    switch (visit) {
      case LayerVisit.Input _ -> {}
      case LayerVisit.Linear linear -> linear(linear);
      case LayerVisit.Norm norm -> norm(norm);
      case LayerVisit.Embedding embedding -> embedding(embedding);
      case LayerVisit.Added added -> added(added);
      case LayerVisit.Gradient gradient -> gradient(gradient);
    }
  }

  private boolean studies(@Nullable ParameterGroup parameter) {
    return parameter != null && sums.containsKey(parameter);
  }

  private void linear(LayerVisit.Linear visit) {
    ParameterGroup weight = visit.weight();
    if (weight != null && studies(weight)) {
      if (visit.transposed()) {
        transposedWeight(weight, visit);
      } else {
        weight(weight, visit);
      }
    }
    ParameterGroup bias = visit.bias();
    if (bias != null && studies(bias)) {
      Shown g = shown(visit.cotangent());
      long outputs = visit.cotangent().size(3);
      kernels.addTokenSumSquares(
          g.shape, outputs, g.cotangents, weights(), slice(bias, visit.firstOutput(), outputs));
    }
  }

  private void weight(ParameterGroup weight, LayerVisit.Linear visit) {
    long outputs = visit.cotangent().size(3);
    long inputs = visit.input().size(2);
    Shown g = shown(visit.cotangent());
    kernels.addSquaredGradients(
        g.shape,
        outputs,
        inputs,
        g.cotangents,
        activations(visit.input()),
        weights(),
        slice(weight, visit.firstOutput() * inputs, outputs * inputs));
  }

  /** For a weight that is stored [I, O]. */
  private void transposedWeight(ParameterGroup weight, LayerVisit.Linear visit) {
    Tensor input = visit.input();
    Tensor cotangent = visit.cotangent();
    long outputs = cotangent.size(3);
    if (outputs * input.size(2) != weight.elementCount()) {
      throw new IllegalArgumentException("part of a transposed layer");
    }
    // Input and cotangent change places. The kernel takes probes of its first operand only, which
    // is now the input, so it is called for one probe at a time.
    Activations inputs = activations(input);
    for (long v = 0; v < cotangent.size(0); v++) {
      Shown g = shown(cotangent.narrow(0, v, 1));
      TokenShape shape = g.shape;
      kernels.addSquaredGradients(
          shape,
          input.size(2),
          outputs,
          new Cotangents(inputs.data(), 0, inputs.exampleStride(), inputs.tokenStride()),
          new Activations(
              g.cotangents.data(), g.cotangents.exampleStride(), g.cotangents.tokenStride()),
          weights == null ? null : Tensors.segment(weights.narrow(0, v, 1)),
          sum(weight));
    }
  }

  private void embedding(LayerVisit.Embedding visit) {
    if (studies(visit.table())) {
      Shown g = shown(visit.cotangent());
      kernels.addEmbeddingSquares(
          g.shape,
          visit.cotangent().size(3),
          g.cotangents,
          Tensors.segment(visit.ids()),
          visit.rows(),
          weights(),
          sum(visit.table()));
    }
  }

  private void gradient(LayerVisit.Gradient visit) {
    ParameterGroup parameter = visit.parameter();
    double weight = weights == null ? 1 : weights.view(-1).select(0, visit.pair()).item_double();
    kernels.addSquares(
        Tensors.segment(visit.gradient()), weight, sum(parameter), parameter.elementCount());
  }

  private void norm(LayerVisit.Norm visit) {
    if (!studies(visit.scale())) {
      return;
    }
    Shown g = shown(visit.cotangent());
    kernels.addLayerNormSquares(
        g.shape,
        visit.input().size(2),
        g.cotangents,
        activations(visit.input()),
        Tensors.segment(visit.mean()),
        Tensors.segment(visit.rstd()),
        weights(),
        sum(visit.scale()),
        sum(visit.shift()));
  }

  private void added(LayerVisit.Added visit) {
    if (!studies(visit.parameter())) {
      return;
    }
    Tensor cotangent = visit.cotangent();
    long features = cotangent.size(2) * cotangent.size(3);
    Tensor flat = cotangent.reshape(cotangent.size(0), cotangent.size(1), 1, features);
    Shown g = shown(flat);
    kernels.addTokenSumSquares(g.shape, features, g.cotangents, weights(), sum(visit.parameter()));
  }

  private record Shown(TokenShape shape, Cotangents cotangents) {}

  /** Describes [V, B, T, O] to the kernels; the last dimension must be contiguous. */
  private Shown shown(Tensor cotangent) {
    peak.look();
    int probes = Math.toIntExact(cotangent.size(0));
    int examples = Math.toIntExact(cotangent.size(1));
    int tokens = Math.toIntExact(cotangent.size(2));
    MemorySegment data = Tensors.segment(cotangent);
    if (squares == Squares.PER_EXAMPLE) {
      return new Shown(
          new TokenShape(probes, examples, tokens),
          new Cotangents(data, cotangent.stride(0), cotangent.stride(1), cotangent.stride(2)));
    }
    return new Shown(
        new TokenShape(probes, 1, Math.multiplyExact(examples, tokens)),
        new Cotangents(data, cotangent.stride(0), 0, mergedTokenStride(cotangent, 1)));
  }

  private Activations activations(Tensor input) {
    MemorySegment data = Tensors.segment(input);
    return squares == Squares.PER_EXAMPLE
        ? new Activations(data, input.stride(0), input.stride(1))
        : new Activations(data, 0, mergedTokenStride(input, 0));
  }

  /** The stride of the tokens of a batch laid end to end. */
  private static long mergedTokenStride(Tensor tensor, int exampleDimension) {
    long examples = exampleDimension;
    long tokens = exampleDimension + 1L;
    if (tensor.size(tokens) == 1) {
      return tensor.stride(examples);
    }
    if (tensor.size(examples) > 1
        && tensor.stride(examples) != tensor.size(tokens) * tensor.stride(tokens)) {
      throw new IllegalStateException("the examples of a tensor do not lie end to end");
    }
    return tensor.stride(tokens);
  }

  private MemorySegment slice(ParameterGroup group, long first, long count) {
    return sum(group).asSlice(first * Float.BYTES, count * Float.BYTES);
  }

  private MemorySegment sum(ParameterGroup group) {
    MemorySegment segment = sums.get(group);
    if (segment == null) {
      throw new IllegalArgumentException("a parameter group of another model");
    }
    return segment;
  }

  /** Sets the sums of one group to zero. */
  public void clear(ParameterGroup group) {
    memory.clear(sum(group));
  }

  /** A copy of the sums of one group. */
  public float[] values(ParameterGroup group) {
    return read(group).toArray(ValueLayout.JAVA_FLOAT);
  }

  /** The sums of a group as they are, in the process's memory. */
  private MemorySegment read(ParameterGroup group) {
    MemorySegment sum = sum(group);
    if (memory.isHost()) {
      return sum;
    }
    MemorySegment mirror =
        mirrors.computeIfAbsent(group, any -> arena.allocate(sum.byteSize(), Float.BYTES));
    memory.read(sum, mirror);
    return mirror;
  }

  @Override
  public Map<String, MemorySegment> byName() {
    Map<String, MemorySegment> byName = new LinkedHashMap<>();
    for (ParameterGroup group : groups) {
      MemorySegment ofGroup = read(group);
      long offset = 0;
      for (ParameterGroup.Member parameter : group.parameters()) {
        long bytes = parameter.elementCount() * Float.BYTES;
        byName.put(parameter.name(), ofGroup.asSlice(offset, bytes));
        offset += bytes;
      }
    }
    return byName;
  }

  @Override
  public void store() {
    mirrors.forEach((group, mirror) -> memory.write(mirror, sum(group)));
  }

  @Override
  public long bytes() {
    return sums.values().stream().mapToLong(MemorySegment::byteSize).sum();
  }

  @Override
  public void scale(double factor) {
    for (MemorySegment sum : byName().values()) {
      long count = sum.byteSize() / Float.BYTES;
      for (long j = 0; j < count; j++) {
        float value = sum.getAtIndex(ValueLayout.JAVA_FLOAT, j);
        sum.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) (value * factor));
      }
    }
    store();
  }

  @Override
  public void close() {
    memory.close();
    arena.close();
  }
}
