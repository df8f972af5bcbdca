package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The kernels of Fisher estimation and merging, on one provider and a fixed number of threads
 * including the caller's: averages and statistics of parameters, and accumulation of squared
 * per-example gradients into a diagonal Fisher (the {@code add...} methods).
 *
 * <p><b>Operands</b> are off-heap segments in native byte order, at least as long as their shape
 * says; what lies beyond is neither read nor written. They need no alignment on the CPU; on a GPU
 * the operands of the {@code add...} methods are aligned to their element. They must be accessible
 * by the calling thread and stay alive until the call returns. A segment that is written must not
 * overlap any other operand, which is not checked. Fisher values are F32 and are added to: the
 * caller clears them first. Squares of gradients under 1e-19 underflow in F32.
 *
 * <p><b>Results</b> have the same bits for any number of threads; accumulations also for any split
 * of a sequence of examples into batches. NaN and infinity follow IEEE 754.
 *
 * <p><b>Errors.</b> Every call checks the size of every segment before anything is written, and
 * throws {@link IllegalArgumentException} with the name of the argument. It throws {@link
 * IllegalStateException} after {@link #close}, and where the GPU fails.
 *
 * <p><b>GPU.</b> With the cuda provider averages are sent through the GPU in pieces; inputs that
 * are {@link #keepResident resident} stay there. The {@code add...} methods take operands in the
 * GPU's memory ({@link #memory}) and return before the work is done: {@link KernelMemory#read}
 * waits for it. An operation without a CUDA kernel runs on the CPU. Averages and accumulations in
 * double have the bits of the other providers. Sums of squares that come with averages are added up
 * in another order, and weight gradients on tensor cores are rounded differently.
 *
 * <p>Thread-safe: calls from several threads run one after the other.
 */
public final class Kernels implements AutoCloseable {
  private final Engine engine;
  private boolean closed;

  private Kernels(Engine engine) {
    this.engine = engine;
  }

  /** Opens what the system properties of {@link KernelOptions} ask for. */
  public static Kernels open() {
    return open(KernelOptions.fromSystemProperties());
  }

  /**
   * Opens what the options ask for; where a GPU is asked for but not required, and there is none,
   * the CPU takes its place.
   *
   * @throws IllegalArgumentException for an unknown provider, instruction set or precision; the
   *     message has the known ones
   * @throws IllegalStateException where the provider asked for or required is not available; the
   *     message says why
   */
  public static Kernels open(KernelOptions options) {
    return new Kernels(EngineChoice.open(options));
  }

  /**
   * The GPU that the cuda provider would use, or {@code none:} and in one sentence why. The first
   * call loads the CUDA library and driver, which takes a while.
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
   * Makes mapped files known, for as long as the guard is open: operands that lie in them are read
   * and written in the fastest way, and other processes that truncate them do no harm. Reading a
   * truncated file in native code would otherwise end this process.
   */
  public MappedGuard guard(List<MappedFile> files) {
    return engine.guard(files);
  }

  /**
   * Lets inputs of averages stay resident on the GPU. The caller promises that the segments do not
   * change and stay alive until the result is closed. The cuda provider then keeps a copy of each
   * input that lies in one of them, made when it is first used, if the GPU has room for all the
   * segments and an eighth of its memory stays free. The other providers read inputs in place.
   *
   * <p>An input that does not begin at a multiple of its element size from the start of its segment
   * is sent each time, so that tensors are better kept one by one than as a whole file. Results
   * have the same bits whether inputs are resident or not, sums of squares included.
   *
   * @param segments of any lengths, which do not overlap
   */
  public synchronized ResidentInputs keepResident(List<MemorySegment> segments) {
    requireOpen();
    for (int i = 0; i < segments.size(); i++) {
      Bounds.readable("segments[%d]".formatted(i), segments.get(i), 0, 1);
    }
    ResidentInputs resident = engine.keepResident(segments);
    return new ResidentInputs(resident.onDevice(), resident.description(), () -> release(resident));
  }

  private synchronized void release(ResidentInputs resident) {
    if (!closed) {
      resident.close();
    }
  }

  /**
   * New memory for operands of the {@code add...} methods. With the cuda provider it is the GPU's,
   * and all operands of these methods must lie in memory of this kind or in CUDA tensors of
   * libtorch. With the other providers it is the process's own, and any off-heap memory will do.
   * The caller closes it.
   */
  public synchronized KernelMemory memory() {
    requireOpen();
    return engine.memory();
  }

  /** Whether these run on a GPU: {@link #memory} is its memory, and averages pass through it. */
  public boolean usesGpu() {
    return engine.usesGpu();
  }

  /** Bytes that are free on the cuda provider's GPU; empty with the other providers. */
  public synchronized OptionalLong gpuFreeBytes() {
    requireOpen();
    return engine.gpuFreeBytes();
  }

  /** Computes one average, without statistics. All providers give the same bits. */
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
   * Computes several averages, and statistics of their Fishers and results while these are in the
   * cache. Threads share the elements of all of them, so that a thousand small averages take as
   * long as a large one. All providers give the same bits of averages, minima and counts; those on
   * the CPU also of sums of squares, which are as in {@link #statistics}.
   *
   * @param averages whose operands do not overlap the result of another one
   * @param thresholds one for each input: Fisher values below it are counted. If it is not empty,
   *     every average has as many inputs, all with Fishers; if it is, Fishers have no statistics
   * @return one for each average, in order
   */
  public List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds) {
    return weightedAverages(averages, thresholds, AverageVisitor.NONE);
  }

  /**
   * The same.
   *
   * @param visitor looks at elements that were averaged, on the CPU while they are in the cache
   */
  public synchronized List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds, AverageVisitor visitor) {
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
      return engine.weightedAverages(checked, thresholds, visitor);
    } finally {
      Reference.reachabilityFence(averages);
    }
  }

  /**
   * Statistics of several ranges of values in the process's memory. Sums of squares are in double,
   * over blocks of 4096 elements, which are added in order. All providers give the same bits.
   *
   * @param ranges all elements of each; a length must be a multiple of the element size
   * @param threshold values less than this are counted
   * @return one for each range, in order
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
    TypedValues base =
        average.base() == null ? null : check("base", average.base(), average.count());
    return new WeightedAverage(
        inputs, base, average.scalingFactor(), out, average.outType(), average.count());
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

  /**
   * Mixes several sets of task vectors. All providers give the same bits; with the cuda provider
   * the CPU does the work.
   *
   * @param mixes whose operands do not overlap the result of another one
   * @return statistics of each result, in order, as {@link #statistics} gives them
   */
  public synchronized List<ValueStatistics> mixTaskVectors(List<TaskVectorMix> mixes) {
    requireOpen();
    List<TaskVectorMix> checked = mixes.stream().map(mix -> check(mix, true)).toList();
    try {
      return engine.mixTaskVectors(checked);
    } finally {
      Reference.reachabilityFence(mixes);
    }
  }

  /**
   * Finds elements by the rank of their magnitude, exactly. Operands are read about once, that of a
   * base once for all queries of it that follow each other. With the cuda provider the CPU does the
   * work.
   *
   * @return one for each query, in order; of no meaning where a difference is not a number
   */
  public synchronized List<RankedMagnitude> rankedMagnitudes(List<MagnitudeQuery> queries) {
    requireOpen();
    List<MagnitudeQuery> checked = new ArrayList<>(queries.size());
    for (MagnitudeQuery query : queries) {
      if (query.rank() < 0 || query.rank() >= query.count()) {
        throw new IllegalArgumentException(
            "rank %d does not lie in [0, %d)".formatted(query.rank(), query.count()));
      }
      checked.add(
          new MagnitudeQuery(
              check("values", query.values(), query.count()),
              check("base", query.base(), query.count()),
              query.count(),
              query.descending(),
              query.rank()));
    }
    try {
      return engine.rankedMagnitudes(checked);
    } finally {
      Reference.reachabilityFence(queries);
    }
  }

  /**
   * Counts differences by their magnitudes; reads operands once. With the cuda provider the CPU
   * does the work.
   */
  public synchronized void countMagnitudes(List<CountedDifferences> differences) {
    requireOpen();
    List<CountedDifferences> checked = new ArrayList<>(differences.size());
    for (CountedDifferences each : differences) {
      long count = Bounds.requireCount("count", each.count());
      checked.add(
          new CountedDifferences(
              check("values", each.values(), count),
              check("base", each.base(), count),
              count,
              each.into()));
    }
    try {
      engine.countMagnitudes(checked);
    } finally {
      Reference.reachabilityFence(differences);
    }
  }

  /**
   * Memory that {@link #countMagnitudes} takes at most, with as many threads as the system
   * properties ask for.
   *
   * @param counts how many {@link MagnitudeCounts} there are
   */
  public static long mostBytesForCounting(int counts) {
    int threads = KernelOptions.fromSystemProperties().threads();
    return (counts + threads) * (long) MagnitudeCounts.COUNTERS * Long.BYTES
        + CpuEngine.countingBytes(threads);
  }

  /**
   * Memory that {@link #rankedMagnitudes} takes and keeps until {@link #close}, with as many
   * threads as the system properties ask for: at most about 64 MiB, unless one query has billions
   * of elements, and one more for each four threads.
   *
   * @param counts elements of each query
   */
  public static long mostBytesForRanking(List<Long> counts) {
    return MagnitudeRanks.workspaceBytes(counts, KernelOptions.fromSystemProperties().threads());
  }

  /**
   * Memory that operands in files take at most, with as many threads as the system properties ask
   * for: parts of them, as {@link #guard} says.
   *
   * @param operands inputs and results of one operation
   */
  public static long mostBytesForFiles(int operands) {
    return KernelOptions.fromSystemProperties().threads() * FileWindows.mostBytes(operands);
  }

  /**
   * L1 norms of the task vectors of a mix, over blocks of 65536 elements, added in order. All
   * providers give the same bits; with the cuda provider the CPU does the work.
   *
   * @param mix whose result is not written
   * @return one for each vector, in order
   */
  public synchronized List<TaskVectorNorms> taskVectorNorms(TaskVectorMix mix) {
    requireOpen();
    TaskVectorMix checked = check(mix, false);
    try {
      return engine.taskVectorNorms(checked);
    } finally {
      Reference.reachabilityFence(mix);
    }
  }

  private static TaskVectorMix check(TaskVectorMix mix, boolean writes) {
    long count = Bounds.requireCount("count", mix.count());
    Bounds.requireCount("first", mix.first());
    if (mix.vectors().isEmpty()) {
      throw new IllegalArgumentException("vectors: at least one is needed");
    }
    List<TaskVector> vectors = new ArrayList<>(mix.vectors().size());
    for (int i = 0; i < mix.vectors().size(); i++) {
      TaskVector vector = mix.vectors().get(i);
      vectors.add(
          new TaskVector(
              Bounds.readable(
                  "vectors[%d].values".formatted(i), vector.values(), count, vector.type().bytes()),
              vector.type(),
              vector.weight(),
              vector.rescale(),
              vector.kept()));
    }
    return new TaskVectorMix(
        vectors,
        check("base", mix.base(), count),
        mix.how(),
        mix.factor(),
        mix.first(),
        writes ? Bounds.writable("out", mix.out(), count, mix.outType().bytes()) : mix.out(),
        mix.outType(),
        count);
  }

  private static TypedValues check(String name, TypedValues values, long count) {
    return new TypedValues(
        Bounds.readable(name, values.data(), count, values.type().bytes()), values.type());
  }

  /**
   * For each pair of rows the sums of {@code x[j] y[j]} and of {@code sqrt(x[j]) sqrt(y[j])}; each
   * element is read once for all pairs. In double, over blocks of 65536 elements whose sums are
   * added in order. All providers give the same bits, and the sums of a pair do not depend on the
   * other rows. A negative or NaN element makes the sums of roots of its row NaN.
   *
   * @param rows at least one, each of at least {@code count} elements in the process's memory
   * @param count elements of a row that are read
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
   * Adds the squares of a gradient: {@code fisher[j] += scale * gradient[j]^2}, in double, rounded
   * once to F32. All providers give the same bits.
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
   * Adds the squared per-example gradients of the weight of a linear layer {@code y = a W^T}:
   * {@code fisher[o, i] += sum_{v,b} w[v, b] (sum_t g[v, b, t, o] a[b, t, i])^2}. The per-example
   * gradients are never stored. The cpu provider works in F32 (with fused multiply-add where the
   * instruction set has it), the scalar one in double, and the cuda one in the precision of its
   * options with sums in F32. The Fisher is rounded to F32 after each example.
   *
   * @param g cotangents of width {@code outputs}
   * @param a layer inputs of width {@code inputs}
   * @param weights F32 [V, B]; null for 1
   * @param fisher F32 [outputs, inputs], contiguous
   */
  public synchronized void addSquaredGradients(
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
      engine.addSquaredGradients(batch, activations, inputs, target);
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(a);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisher);
    }
  }

  /**
   * Adds the squared per-example gradients of a bias: {@code fisher[o] += sum_{v,b} w[v, b] (sum_t
   * g[v, b, t, o])^2}. It also serves a parameter that is added to an activation, such as a class
   * or position embedding: with one token, and {@code outputs} the number of its elements. In
   * double, rounded to F32 after each example. All providers give the same bits.
   *
   * @param g cotangents of width {@code outputs}
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
   * Adds the squared per-example gradients of a LayerNorm {@code y = xhat * scale + shift} with
   * {@code xhat = (x - mean) * rstd}: {@code fisherScale[d] += sum_{v,b} w (sum_t g xhat)^2} and
   * {@code fisherShift[d] += sum_{v,b} w (sum_t g)^2}. In double, rounded to F32 after each
   * example. All providers give the same bits.
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
   * Adds the squared per-example gradients of an embedding table: for each probe and example, the
   * rows of g at positions with the same id are summed, and the squares of the sum, weighted, are
   * added to that row of the Fisher. In double, rounded to F32 after each example. All providers
   * give the same bits.
   *
   * @param g cotangents of width {@code width}
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
   * Bytes of memory that is kept for packed operands: what the largest call so far took. It grows
   * with the cotangents and inputs of a batch, up to 256 MiB (2 GiB of a GPU) or, if that is more,
   * what one example needs.
   */
  public synchronized long workspaceBytes() {
    return engine.workspaceBytes();
  }

  /**
   * Ends the worker threads and frees the workspace and resident inputs. Closing twice has no
   * effect.
   */
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
