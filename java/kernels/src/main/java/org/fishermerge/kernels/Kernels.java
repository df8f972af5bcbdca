package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The kernels of Fisher estimation and merging, on one provider and a fixed number of threads, the
 * caller's among them.
 *
 * <p>Segments are off-heap, in native byte order, may be unaligned, and must stay alive until the
 * call returns; a segment that is written must not overlap another. Every call checks the size of
 * every segment first and throws {@link IllegalArgumentException}, naming the argument, before
 * anything is written. Results have the same bits for any number of threads, and the accumulations
 * also for any split of a sequence of examples into batches; NaN and infinity follow IEEE 754.
 * Fisher values are F32 and are added to, so that a caller clears them first; squares of gradients
 * under 1e-19 vanish below F32's range.
 *
 * <p>With the cuda provider averages pass through the GPU in pieces, where inputs that are {@link
 * #hold held} stay, and Fisher accumulations work in its memory ({@link #memory}) and are finished
 * when that is read; what has no kernel there runs on the CPU. Averages and accumulations in double
 * have the bits of the other providers; sums of squares that come with averages, and weight
 * gradients on tensor cores, have their own.
 *
 * <p>Calls from several threads run one after the other.
 */
public final class Kernels implements AutoCloseable {
  private final Engine engine;
  private boolean closed;

  private Kernels(Engine engine) {
    this.engine = engine;
  }

  /** As the system properties of {@link KernelOptions} say. */
  public static Kernels open() {
    return open(KernelOptions.fromSystemProperties());
  }

  /**
   * Chooses a provider.
   *
   * @throws IllegalArgumentException for an unknown provider or instruction set; the message has
   *     the known ones
   * @throws IllegalStateException where the provider asked for or required is not available; the
   *     message says why
   */
  public static Kernels open(KernelOptions options) {
    return new Kernels(EngineChoice.open(options));
  }

  /**
   * The GPU that the cuda provider would use, or in one sentence why there is none. Looks for it,
   * which takes some time, and loads what that needs.
   */
  public static String describeGpu() {
    try (CudaDevice device = CudaDevice.open(KernelOptions.fromSystemProperties())) {
      return device.describe();
    } catch (IllegalStateException e) {
      return "none: " + e.getMessage();
    }
  }

  /** What runs the kernels, and why nothing better does. */
  public KernelInfo info() {
    return engine.info();
  }

  /**
   * Guards mapped files that others may truncate, until it is closed: without, that ends the
   * process.
   *
   * @param mapped whole mappings
   */
  public MappedGuard guard(List<MemorySegment> mapped) {
    return engine.guard(mapped);
  }

  /**
   * A promise that segments do not change, and stay alive, until it is closed. A provider with
   * memory of its own then keeps copies of the inputs of averages that lie in them, from when each
   * is first used, if there is room for all the segments; others read them where they are. The cuda
   * provider leaves an eighth of the GPU's memory free.
   *
   * <p>Nothing is read but inputs of averages. One that lies in a segment at no multiple of its
   * element's size is sent each time as if it were not held, so that tensors are better held one by
   * one than by the file. Results have the same bits whether inputs are held or not, sums of
   * squares too.
   *
   * @param segments which do not overlap
   */
  public synchronized HeldInputs hold(List<MemorySegment> segments) {
    requireOpen();
    for (int i = 0; i < segments.size(); i++) {
      Bounds.readable("segments[%d]".formatted(i), segments.get(i), 0, 1);
    }
    HeldInputs held = engine.hold(segments);
    return new HeldInputs(held.onDevice(), held.description(), () -> release(held));
  }

  private synchronized void release(HeldInputs held) {
    if (!closed) {
      held.close();
    }
  }

  /**
   * New memory for the operands of the Fisher accumulations ({@code add...}), which must lie there:
   * with the cuda provider the GPU's, where libtorch's CUDA tensors are too, with the others the
   * process's own, and then any other off-heap memory will do.
   */
  public synchronized KernelMemory memory() {
    requireOpen();
    return engine.memory();
  }

  /** Whether these run on a GPU: {@link #memory} is its memory, and averages pass through it. */
  public boolean usesGpu() {
    return engine.usesGpu();
  }

  /** Memory that the cuda provider's GPU has left; empty with the others. */
  public synchronized OptionalLong gpuFreeBytes() {
    requireOpen();
    return engine.gpuFreeBytes();
  }

  /** One average, without statistics. All providers give the same bits. */
  public synchronized void weightedAverage(WeightedAverage average) {
    requireOpen();
    WeightedAverage checked = check(average);
    try {
      engine.weightedAverage(checked);
    } finally {
      Reference.reachabilityFence(average);
    }
  }

  /**
   * Several averages at once, and statistics of what is read and written, taken while it is in the
   * cache. Threads share the elements of all of them, so that a thousand small ones run like a
   * large one. All providers give the same bits; sums of squares are as in {@link #statistics}.
   *
   * @param thresholds for each input, below what its Fisher values are counted; empty: the Fishers
   *     are not looked at
   */
  public synchronized List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds) {
    requireOpen();
    List<WeightedAverage> checked = new ArrayList<>(averages.size());
    for (WeightedAverage average : averages) {
      checked.add(check(average));
      for (WeightedInput input : average.inputs()) {
        if (!thresholds.isEmpty()
            && (input.fisher() == null || average.inputs().size() != thresholds.size())) {
          throw new IllegalArgumentException(
              "thresholds: %d for %d inputs with Fishers"
                  .formatted(thresholds.size(), average.inputs().size()));
        }
      }
    }
    try {
      return engine.weightedAverages(checked, thresholds);
    } finally {
      Reference.reachabilityFence(averages);
    }
  }

  /**
   * Statistics of several ranges of values. Sums of squares are over fixed blocks of 4096 elements,
   * added in order. All providers give the same bits.
   *
   * @param ranges each as long as its data
   * @param threshold below what values are counted
   */
  public synchronized List<ValueStatistics> statistics(List<TypedValues> ranges, double threshold) {
    requireOpen();
    List<TypedValues> checked = new ArrayList<>(ranges.size());
    for (int i = 0; i < ranges.size(); i++) {
      TypedValues range = ranges.get(i);
      long count = range.data().byteSize() / range.type().bytes();
      if (range.data().byteSize() % range.type().bytes() != 0) {
        throw new IllegalArgumentException(
            "ranges[%d] is no whole number of %s values: %d bytes"
                .formatted(i, range.type(), range.data().byteSize()));
      }
      checked.add(check("ranges[%d]".formatted(i), range, count));
    }
    try {
      return engine.statistics(checked, threshold);
    } finally {
      Reference.reachabilityFence(ranges);
    }
  }

  private static WeightedAverage check(WeightedAverage average) {
    Bounds.requireCount("count", average.count());
    if (average.inputs().isEmpty()) {
      throw new IllegalArgumentException("inputs: at least one is needed");
    }
    List<WeightedInput> inputs = new ArrayList<>(average.inputs().size());
    for (int i = 0; i < average.inputs().size(); i++) {
      inputs.add(check(average.inputs().get(i), i, average.count()));
    }
    MemorySegment out =
        Bounds.writable("out", average.out(), average.count(), average.outType().bytes());
    return new WeightedAverage(inputs, out, average.outType(), average.count());
  }

  private static WeightedInput check(WeightedInput input, int i, long count) {
    MemorySegment fisher = input.fisher();
    return new WeightedInput(
        Bounds.readable(
            "inputs[%d].values".formatted(i), input.values(), count, input.valueType().bytes()),
        input.valueType(),
        fisher == null
            ? null
            : Bounds.readable(
                "inputs[%d].fisher".formatted(i), fisher, count, input.fisherType().bytes()),
        input.fisherType(),
        input.scale(),
        input.offset());
  }

  private static TypedValues check(String name, TypedValues values, long count) {
    return new TypedValues(
        Bounds.readable(name, values.data(), count, values.type().bytes()), values.type());
  }

  /**
   * For each pair of rows the sums of {@code x[j] y[j]} and of {@code sqrt(x[j]) sqrt(y[j])}, each
   * element read once for all pairs. In double, over fixed blocks of 65536 elements whose sums are
   * added in order. All providers give the same bits, whatever other rows there are beside a pair.
   * A negative element or NaN makes the roots of its row NaN.
   *
   * @param rows at least one, each of at least {@code count} elements; their formats may differ
   */
  public synchronized PairSums pairSums(List<TypedValues> rows, long count) {
    requireOpen();
    Bounds.requireCount("count", count);
    if (rows.isEmpty()) {
      throw new IllegalArgumentException("rows: at least one is needed");
    }
    List<TypedValues> checked = new ArrayList<>(rows.size());
    for (int p = 0; p < rows.size(); p++) {
      checked.add(check("rows[%d]".formatted(p), rows.get(p), count));
    }
    try {
      return engine.pairSums(checked, count);
    } finally {
      Reference.reachabilityFence(rows);
    }
  }

  /**
   * {@code fisher[j] += scale * gradient[j]^2}, in double, rounded once to F32. All providers give
   * the same bits.
   *
   * @param gradient F32, {@code count} elements
   * @param fisher F32, {@code count} elements
   */
  public synchronized void addSquares(
      MemorySegment gradient, double scale, MemorySegment fisher, long count) {
    requireOpen();
    Bounds.requireCount("count", count);
    MemorySegment source = Bounds.readable("gradient", gradient, count, 4);
    MemorySegment target = Bounds.writable("fisher", fisher, count, 4);
    try {
      engine.addSquares(source, scale, target, count);
    } finally {
      Reference.reachabilityFence(gradient);
      Reference.reachabilityFence(fisher);
    }
  }

  /**
   * The weight of a linear layer {@code y = a W^T}: {@code fisher[o, i] += sum_{v,b} w[v, b] (sum_t
   * g[v, b, t, o] a[b, t, i])^2}. No per-example gradient is ever written. The native provider
   * works in F32 (fused multiply-add where the instruction set has it), the scalar one in double;
   * both round the Fisher to F32 after each example.
   *
   * @param g cotangents of width {@code outputs}
   * @param a layer inputs of width {@code inputs}
   * @param weights F32 [V, B]; null for 1
   * @param fisher F32 [outputs, inputs], contiguous
   */
  public synchronized void addOuterSquares(
      TokenShape shape,
      long outputs,
      long inputs,
      Cotangents g,
      Activations a,
      @Nullable MemorySegment weights,
      MemorySegment fisher) {
    requireOpen();
    Bounds.requireCount("outputs", outputs);
    Bounds.requireCount("inputs", inputs);
    Batch batch = check(shape, outputs, g, weights);
    Activations activations = check("a", shape, inputs, a);
    MemorySegment target =
        Bounds.writable("fisher", fisher, Bounds.product("fisher", outputs, inputs), 4);
    if (batch.isEmpty() || inputs == 0) {
      return;
    }
    try {
      engine.addOuterSquares(batch, activations, inputs, target);
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(a);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisher);
    }
  }

  /**
   * A bias: {@code fisher[o] += sum_{v,b} w[v, b] (sum_t g[v, b, t, o])^2}. With one token and
   * {@code outputs} the number of all its elements, any parameter added to an activation, such as a
   * class or position embedding. In double, rounded to F32 after each example. All providers give
   * the same bits.
   *
   * @param weights F32 [V, B]; null for 1
   * @param fisher F32 [outputs]
   */
  public synchronized void addTokenSumSquares(
      TokenShape shape,
      long outputs,
      Cotangents g,
      @Nullable MemorySegment weights,
      MemorySegment fisher) {
    requireOpen();
    Bounds.requireCount("outputs", outputs);
    Batch batch = check(shape, outputs, g, weights);
    MemorySegment target = Bounds.writable("fisher", fisher, outputs, 4);
    if (batch.isEmpty()) {
      return;
    }
    try {
      engine.addTokenSumSquares(batch, target);
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisher);
    }
  }

  /**
   * LayerNorm {@code y = xhat * scale + shift} with {@code xhat = (x - mean) * rstd}: {@code
   * fisherScale[d] += sum_{v,b} w (sum_t g xhat)^2} and {@code fisherShift[d] += sum_{v,b} w (sum_t
   * g)^2}. In double, rounded to F32 after each example. All providers give the same bits.
   *
   * @param g cotangents of the layer's output, of width {@code width}
   * @param x the layer's input, of width {@code width}
   * @param mean F32 [B, T], contiguous
   * @param rstd F32 [B, T], contiguous: 1 / sqrt(variance + epsilon)
   * @param weights F32 [V, B]; null for 1
   * @param fisherScale F32 [width]
   * @param fisherShift F32 [width]
   */
  public synchronized void addLayerNormSquares(
      TokenShape shape,
      long width,
      Cotangents g,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      @Nullable MemorySegment weights,
      MemorySegment fisherScale,
      MemorySegment fisherShift) {
    requireOpen();
    Bounds.requireCount("width", width);
    Batch batch = check(shape, width, g, weights);
    Activations activations = check("x", shape, width, x);
    long positions = (long) shape.examples() * shape.tokens();
    MemorySegment means = Bounds.readable("mean", mean, positions, 4);
    MemorySegment rstds = Bounds.readable("rstd", rstd, positions, 4);
    MemorySegment scale = Bounds.writable("fisherScale", fisherScale, width, 4);
    MemorySegment shift = Bounds.writable("fisherShift", fisherShift, width, 4);
    if (batch.isEmpty()) {
      return;
    }
    try {
      engine.addLayerNormSquares(batch, activations, means, rstds, scale, shift);
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(mean);
      Reference.reachabilityFence(rstd);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisherScale);
      Reference.reachabilityFence(fisherShift);
    }
  }

  /**
   * Rows of an embedding table: for each probe and example, the rows of g at positions with the
   * same id are summed, squared, weighted and added to that row of the Fisher. In double, rounded
   * to F32 after each example. All providers give the same bits.
   *
   * @param ids I64 [B, T], contiguous, each in [0, rows)
   * @param weights F32 [V, B]; null for 1
   * @param fisher F32 [rows, width], contiguous
   */
  public synchronized void addEmbeddingSquares(
      TokenShape shape,
      long width,
      Cotangents g,
      MemorySegment ids,
      long rows,
      @Nullable MemorySegment weights,
      MemorySegment fisher) {
    requireOpen();
    Bounds.requireCount("width", width);
    Bounds.requireCount("rows", rows);
    Batch batch = check(shape, width, g, weights);
    long count = (long) shape.examples() * shape.tokens();
    MemorySegment positions = Bounds.readable("ids", ids, count, 8);
    MemorySegment target =
        Bounds.writable("fisher", fisher, Bounds.product("fisher", rows, width), 4);
    MemorySegment seen = engine.readable(positions);
    for (long k = 0; k < count; k++) {
      long id = seen.get(JAVA_LONG_UNALIGNED, 8 * k);
      if (id < 0 || id >= rows) {
        throw new IllegalArgumentException(
            "ids[%d] = %d does not lie in [0, %d)".formatted(k, id, rows));
      }
    }
    if (batch.isEmpty()) {
      return;
    }
    try {
      engine.addEmbeddingSquares(batch, positions, rows, target);
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(ids);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisher);
    }
  }

  /**
   * Memory kept for packed operands: as much as the largest call so far took, which grows with the
   * cotangents and inputs of a batch up to 256 MiB or what one example needs.
   */
  public synchronized long workspaceBytes() {
    return engine.workspaceBytes();
  }

  /** Ends the worker threads and frees the workspace. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      engine.close();
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("these Kernels are closed");
    }
  }

  private static Batch check(
      TokenShape shape, long width, Cotangents g, @Nullable MemorySegment weights) {
    long extent =
        Bounds.extent(
            "g",
            width,
            shape.probes(),
            g.probeStride(),
            shape.examples(),
            g.exampleStride(),
            shape.tokens(),
            g.tokenStride());
    return new Batch(
        shape,
        width,
        new Cotangents(
            Bounds.readable("g", g.data(), extent, 4),
            g.probeStride(),
            g.exampleStride(),
            g.tokenStride()),
        weights == null
            ? null
            : Bounds.readable("weights", weights, (long) shape.probes() * shape.examples(), 4),
        shape.examples());
  }

  private static Activations check(String name, TokenShape shape, long width, Activations a) {
    long extent =
        Bounds.extent(
            name, width, shape.examples(), a.exampleStride(), shape.tokens(), a.tokenStride());
    return new Activations(
        Bounds.readable(name, a.data(), extent, 4), a.exampleStride(), a.tokenStride());
  }
}
