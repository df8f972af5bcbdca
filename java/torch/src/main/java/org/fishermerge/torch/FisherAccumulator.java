package org.fishermerge.torch;

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
import org.jspecify.annotations.Nullable;

/**
 * The running sums of squared gradients of a model's parameters, and the layer taps that feed them:
 * each tap takes a layer's input a[b,t,i] and output cotangent g[v,b,t,o], for V probes, B examples
 * and T tokens, and adds the squares of that layer's per-example gradients.
 *
 * <p>With {@link Squares#PER_BATCH} gradients are summed over the examples of a batch before
 * squaring, which is FusionBench's estimator. To the kernels that is one example with B*T tokens.
 */
final class FisherAccumulator implements AutoCloseable {
  /** What is summed before the square is taken. */
  enum Squares {
    PER_EXAMPLE,
    PER_BATCH
  }

  private static final long NOT_WATCHED = -1;

  private final Kernels kernels;

  /** Where the kernels work: the process's memory, or a GPU's. */
  private final KernelMemory memory;

  /** Of what the process reads and writes of the sums, where they lie elsewhere. */
  private final Arena arena = Arena.ofShared();

  private final Squares squares;
  private final Map<ParameterGroup, MemorySegment> sums = new HashMap<>(); // by identity
  private final Map<ParameterGroup, MemorySegment> mirrors = new HashMap<>(); // by identity
  private final List<ParameterGroup> groups;
  private @Nullable MemorySegment weights;
  private @Nullable MemorySegment hostWeights;
  private MemorySegment weightSpace = MemorySegment.NULL;
  private long peak = NOT_WATCHED;

  FisherAccumulator(Kernels kernels, Squares squares, List<ParameterGroup> groups) {
    this.kernels = kernels;
    this.squares = squares;
    this.groups = groups;
    this.memory = kernels.memory();
    for (ParameterGroup group : groups) {
      sums.put(group, memory.allocate(group.elementCount() * Float.BYTES));
    }
  }

  /**
   * Weights w[v,b] of the squares of the next backward pass, fp32 [V, B]; null means one. Not used
   * with {@link Squares#PER_BATCH}.
   */
  void weights(@Nullable MemorySegment weights) {
    hostWeights = squares == Squares.PER_BATCH ? null : weights;
    this.weights = hostWeights == null ? null : inKernelMemory(hostWeights);
  }

  private MemorySegment inKernelMemory(MemorySegment host) {
    if (memory.isHost()) {
      return host;
    }
    if (weightSpace.byteSize() < host.byteSize()) {
      weightSpace = memory.allocate(2 * host.byteSize());
    }
    MemorySegment there = weightSpace.asSlice(0, host.byteSize());
    memory.write(host, there);
    return there;
  }

  /** Runs a backward pass and returns the most memory that malloc had handed out at any tap. */
  long peakOf(Runnable backward) {
    peak = 0;
    try {
      backward.run();
      return peak;
    } finally {
      peak = NOT_WATCHED;
    }
  }

  /** What the kernels keep for packed operands. */
  long workspaceBytes() {
    return kernels.workspaceBytes();
  }

  /** A linear layer's weight and bias. {@code rows} outputs starting at row {@code firstRow}. */
  void linear(
      ParameterGroup weight,
      @Nullable ParameterGroup bias,
      long firstRow,
      Tensor cotangent,
      Tensor input) {
    long outputs = cotangent.size(3);
    long inputs = input.size(2);
    Tapped g = tapped(cotangent);
    kernels.addOuterSquares(
        g.shape,
        outputs,
        inputs,
        g.cotangents,
        activations(input),
        weights,
        slice(weight, firstRow * inputs, outputs * inputs));
    if (bias != null) {
      kernels.addTokenSumSquares(
          g.shape, outputs, g.cotangents, weights, slice(bias, firstRow, outputs));
    }
  }

  /** As {@link #linear}, for all of a weight that is stored transposed, [I, O]. */
  void transposedLinear(ParameterGroup weight, Tensor cotangent, Tensor input) {
    // Input and cotangent change places, so that probes, which only cotangents have, go one by one.
    Activations inputs = activations(input);
    for (long v = 0; v < cotangent.size(0); v++) {
      Tapped g = tapped(cotangent.narrow(0, v, 1));
      TokenShape shape = g.shape;
      kernels.addOuterSquares(
          shape,
          input.size(2),
          cotangent.size(3),
          new Cotangents(inputs.data(), 0, inputs.exampleStride(), inputs.tokenStride()),
          new Activations(
              g.cotangents.data(), g.cotangents.exampleStride(), g.cotangents.tokenStride()),
          weights == null ? null : weights.asSlice(v * shape.examples() * Float.BYTES),
          sum(weight));
    }
  }

  /** A bias alone. */
  void bias(ParameterGroup bias, Tensor cotangent) {
    Tapped g = tapped(cotangent);
    kernels.addTokenSumSquares(g.shape, cotangent.size(3), g.cotangents, weights, sum(bias));
  }

  /** An embedding table [rows, O]; {@code ids} are int64 [B, T], contiguous. */
  void embedding(ParameterGroup table, long rows, Tensor cotangent, Tensor ids) {
    Tapped g = tapped(cotangent);
    kernels.addEmbeddingSquares(
        g.shape, cotangent.size(3), g.cotangents, Tensors.segment(ids), rows, weights, sum(table));
  }

  /**
   * A gradient that is already there: contiguous fp32, of one example and probe, or of a whole
   * batch with {@link Squares#PER_BATCH}.
   *
   * @param pair index v * B + b of the probe and example in the weights
   */
  void gradient(ParameterGroup parameter, Tensor gradient, long pair) {
    double weight = hostWeights == null ? 1 : hostWeights.getAtIndex(ValueLayout.JAVA_FLOAT, pair);
    kernels.addSquares(Tensors.segment(gradient), weight, sum(parameter), parameter.elementCount());
  }

  /** A LayerNorm's scale and shift; mean and rstd are [B, T, 1] as libtorch returns them. */
  void layerNorm(
      ParameterGroup scale,
      ParameterGroup shift,
      Tensor cotangent,
      Tensor input,
      Tensor mean,
      Tensor rstd) {
    Tapped g = tapped(cotangent);
    kernels.addLayerNormSquares(
        g.shape,
        input.size(2),
        g.cotangents,
        activations(input),
        Tensors.segment(mean),
        Tensors.segment(rstd),
        weights,
        sum(scale),
        sum(shift));
  }

  /**
   * A parameter that is added to every example, one value per position and feature: position and
   * class embeddings. {@code cotangent} is [V, B, P, D] for a parameter of P*D values.
   */
  void added(ParameterGroup parameter, Tensor cotangent) {
    long features = cotangent.size(2) * cotangent.size(3);
    Tensor flat = cotangent.reshape(cotangent.size(0), cotangent.size(1), 1, features);
    Tapped g = tapped(flat);
    kernels.addTokenSumSquares(g.shape, features, g.cotangents, weights, sum(parameter));
  }

  private record Tapped(TokenShape shape, Cotangents cotangents) {}

  /** Describes [V, B, T, O] to the kernels; the last dimension must be contiguous. */
  private Tapped tapped(Tensor cotangent) {
    if (peak != NOT_WATCHED) {
      peak = Math.max(peak, NativeHeap.used().orElseThrow());
    }
    int probes = Math.toIntExact(cotangent.size(0));
    int examples = Math.toIntExact(cotangent.size(1));
    int tokens = Math.toIntExact(cotangent.size(2));
    MemorySegment data = Tensors.segment(cotangent);
    if (squares == Squares.PER_EXAMPLE) {
      return new Tapped(
          new TokenShape(probes, examples, tokens),
          new Cotangents(data, cotangent.stride(0), cotangent.stride(1), cotangent.stride(2)));
    }
    return new Tapped(
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
      throw new IllegalStateException("the examples of a tapped tensor do not lie end to end");
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
  void clear(ParameterGroup group) {
    memory.clear(sum(group));
  }

  /** A copy of the sums of one group. */
  float[] values(ParameterGroup group) {
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

  /**
   * The sums by canonical parameter name, fp32, in the parameter's own layout, in the process's
   * memory: the sums themselves, or what {@link #store} takes them from.
   */
  Map<String, MemorySegment> byName() {
    Map<String, MemorySegment> byName = new LinkedHashMap<>();
    for (ParameterGroup group : groups) {
      MemorySegment ofGroup = read(group);
      long offset = 0;
      for (ParameterGroup.Parameter parameter : group.parameters()) {
        long bytes = parameter.elementCount() * Float.BYTES;
        byName.put(parameter.name(), ofGroup.asSlice(offset, bytes));
        offset += bytes;
      }
    }
    return byName;
  }

  /** Makes what was written to the segments of the last {@link #byName} the sums. */
  void store() {
    mirrors.forEach((group, mirror) -> memory.write(mirror, sum(group)));
  }

  /** Of all sums. */
  long bytes() {
    return sums.values().stream().mapToLong(MemorySegment::byteSize).sum();
  }

  /** Multiplies every sum by {@code factor}. */
  void scale(double factor) {
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
