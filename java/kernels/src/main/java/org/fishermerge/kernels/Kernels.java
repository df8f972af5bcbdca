package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.kernels.KernelProvider.Batch;
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
  private static final long SUM_BLOCK = 65536;

  /**
   * Elements that a thread averages and then looks through while they are in its cache: the Fishers
   * of eight models take 128 KiB.
   */
  private static final long STATISTICS_BLOCK = 4096;

  /** Blocks handed out at a time. */
  private static final long STATISTICS_GRAIN = 16;

  private static final long AVERAGE_GRAIN = 65536;

  /** Elements below which waking another thread costs more than it saves. */
  private static final long SMALL = 32768;

  /** A batch whose packed operands exceed this is taken in parts. */
  private static final long WORKSPACE_BYTES = 256L << 20;

  /** The same on a GPU, where small parts would not fill the chip. */
  private static final long CUDA_WORKSPACE_BYTES = 2L << 30;

  private final KernelProvider provider;

  /** Where there is one, it does what it can, and the provider the rest. */
  private final @Nullable CudaKernels cuda;

  private final KernelInfo info;
  private final WorkerPool pool;
  private Arena workspaceArena = newWorkspaceArena();
  private MemorySegment workspace = MemorySegment.NULL;
  private boolean closed;

  private Kernels(ProviderChoice choice, int threads) {
    this.provider = choice.provider();
    this.cuda = choice.cuda();
    boolean loaded = provider instanceof CpuKernels;
    this.info =
        cuda != null
            ? new KernelInfo(
                "cuda",
                cuda.isa(),
                Optional.of(cuda.library()),
                Optional.of(CudaBindings.ABI_VERSION),
                threads,
                choice.notes())
            : new KernelInfo(
                provider.name(),
                provider.isa(),
                loaded ? Optional.of(NativeBindings.LIBRARY) : Optional.empty(),
                loaded ? Optional.of(NativeBindings.ABI_VERSION) : Optional.empty(),
                threads,
                choice.notes());
    this.pool = new WorkerPool(threads);
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
    return new Kernels(ProviderChoice.of(options), options.threads());
  }

  /**
   * The GPU that the cuda provider would use, or in one sentence why there is none. Looks for it,
   * which takes some time, and loads what that needs.
   */
  public static String describeGpu() {
    try (CudaKernels cuda = CudaKernels.open(KernelOptions.fromSystemProperties())) {
      return cuda.describe();
    } catch (IllegalStateException e) {
      return "none: " + e.getMessage();
    }
  }

  /** What runs the kernels, and why nothing better does. */
  public KernelInfo info() {
    return info;
  }

  /**
   * Guards mapped files that others may truncate, until it is closed: without, that ends the
   * process.
   *
   * @param mapped whole mappings
   */
  public MappedGuard guard(List<MemorySegment> mapped) {
    return provider instanceof CpuKernels ? MappedGuard.of(mapped) : MappedGuard.none();
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
    if (cuda == null) {
      return new HeldInputs(false, "inputs are read where they are", () -> {});
    }
    DeviceCopies copies = cuda.averages().hold(segments);
    return new HeldInputs(!copies.isEmpty(), copies.description(), () -> release(copies));
  }

  private synchronized void release(DeviceCopies copies) {
    if (!closed && cuda != null) {
      cuda.averages().release(copies);
    }
  }

  /**
   * New memory for the operands of the Fisher accumulations ({@code add...}), which must lie there:
   * with the cuda provider the GPU's, where libtorch's CUDA tensors are too, with the others the
   * process's own, and then any other off-heap memory will do.
   */
  public synchronized KernelMemory memory() {
    requireOpen();
    return cuda != null ? cuda.memory() : new HostMemory();
  }

  /** Memory that the cuda provider's GPU has left; empty with the others. */
  public synchronized OptionalLong gpuFreeBytes() {
    requireOpen();
    return cuda != null ? OptionalLong.of(cuda.freeBytes()) : OptionalLong.empty();
  }

  /** One average, without statistics. All providers give the same bits. */
  public synchronized void weightedAverage(WeightedAverage average) {
    requireOpen();
    WeightedAverage checked = check(average);
    try (Arena arena = Arena.ofConfined()) {
      if (cuda != null) {
        cuda.averages().weightedAverages(List.of(checked), List.of(), pool);
        return;
      }
      pool.run(checked.count(), AVERAGE_GRAIN, provider.weightedAverage(checked, arena));
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
    if (cuda != null) {
      try {
        return cuda.averages().weightedAverages(checked, thresholds, pool);
      } finally {
        Reference.reachabilityFence(averages);
      }
    }
    int kinds = thresholds.size() + 1;
    Blocks blocks = new Blocks(checked.stream().mapToLong(WeightedAverage::count).toArray(), kinds);
    try (Arena arena = Arena.ofConfined()) {
      List<RangeTask> tasks = new ArrayList<>(checked.size());
      for (WeightedAverage average : checked) {
        tasks.add(provider.weightedAverage(average, arena));
      }
      blocks.run(
          pool,
          (worker, item, from, to, found) -> {
            WeightedAverage average = checked.get(item);
            tasks.get(item).run(worker, from, to);
            for (int i = 0; i < thresholds.size(); i++) {
              WeightedInput input = average.inputs().get(i);
              MemorySegment fisher = Objects.requireNonNull(input.fisher());
              found[i] =
                  provider.statistics(fisher, input.fisherType(), from, to, thresholds.get(i));
            }
            found[kinds - 1] =
                provider.statistics(
                    average.out(), average.outType(), from, to, Double.NEGATIVE_INFINITY);
          });
    } finally {
      Reference.reachabilityFence(averages);
    }
    List<WeightedAverage.Statistics> result = new ArrayList<>();
    for (int item = 0; item < checked.size(); item++) {
      List<ValueStatistics> found = blocks.total(item);
      result.add(new WeightedAverage.Statistics(found.subList(0, kinds - 1), found.get(kinds - 1)));
    }
    return result;
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
    long[] counts = new long[ranges.size()];
    for (int i = 0; i < counts.length; i++) {
      TypedValues range = ranges.get(i);
      counts[i] = range.data().byteSize() / range.type().bytes();
      if (range.data().byteSize() % range.type().bytes() != 0) {
        throw new IllegalArgumentException(
            "ranges[%d] is no whole number of %s values: %d bytes"
                .formatted(i, range.type(), range.data().byteSize()));
      }
      checked.add(
          new TypedValues(
              Bounds.readable(
                  "ranges[%d]".formatted(i), range.data(), counts[i], range.type().bytes()),
              range.type()));
    }
    Blocks blocks = new Blocks(counts, 1);
    try {
      blocks.run(
          pool,
          (worker, item, from, to, found) -> {
            TypedValues range = checked.get(item);
            found[0] = provider.statistics(range.data(), range.type(), from, to, threshold);
          });
    } finally {
      Reference.reachabilityFence(ranges);
    }
    List<ValueStatistics> result = new ArrayList<>();
    for (int item = 0; item < counts.length; item++) {
      result.add(blocks.total(item).getFirst());
    }
    return result;
  }

  /** Items of different lengths, cut into blocks that threads share; statistics of each block. */
  private static final class Blocks {
    private final long[] counts;

    /** Index of each item's first block, and how many there are. */
    private final long[] first;

    private final int kinds;
    private final @Nullable ValueStatistics[][] found;

    interface Work {
      void run(int worker, int item, long from, long to, @Nullable ValueStatistics[] found);
    }

    Blocks(long[] counts, int kinds) {
      this.counts = counts;
      this.kinds = kinds;
      this.first = new long[counts.length + 1];
      for (int i = 0; i < counts.length; i++) {
        first[i + 1] = first[i] + Math.ceilDiv(counts[i], STATISTICS_BLOCK);
      }
      this.found = new ValueStatistics[Math.toIntExact(first[counts.length])][kinds];
    }

    void run(WorkerPool pool, Work work) {
      pool.run(
          found.length,
          STATISTICS_GRAIN,
          (worker, begin, end) -> {
            int item = Arrays.binarySearch(first, begin);
            item = item < 0 ? -item - 2 : item;
            for (long block = begin; block < end; block++) {
              while (first[item + 1] <= block) {
                item++;
              }
              long from = (block - first[item]) * STATISTICS_BLOCK;
              long to = Math.min(counts[item], from + STATISTICS_BLOCK);
              work.run(worker, item, from, to, found[(int) block]);
            }
          });
    }

    /** Of one item, for each kind. */
    List<ValueStatistics> total(int item) {
      List<ValueStatistics> totals = new ArrayList<>(kinds);
      for (int kind = 0; kind < kinds; kind++) {
        ValueStatistics total = ValueStatistics.EMPTY;
        for (long block = first[item]; block < first[item + 1]; block++) {
          total = total.plus(Objects.requireNonNull(found[(int) block][kind]));
        }
        totals.add(total);
      }
      return totals;
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
      TypedValues row = rows.get(p);
      checked.add(
          new TypedValues(
              Bounds.readable("rows[%d]".formatted(p), row.data(), count, row.type().bytes()),
              row.type()));
    }
    PairSums[] blocks = new PairSums[Math.toIntExact(Math.ceilDiv(count, SUM_BLOCK))];
    try {
      pool.run(
          blocks.length,
          1,
          (worker, begin, end) -> {
            for (long k = begin; k < end; k++) {
              long from = k * SUM_BLOCK;
              PairSums block = new PairSums(checked.size());
              provider.pairSums(checked, from, Math.min(count, from + SUM_BLOCK), block);
              blocks[(int) k] = block;
            }
          });
    } finally {
      Reference.reachabilityFence(rows);
    }
    PairSums total = new PairSums(checked.size());
    for (PairSums block : blocks) {
      total.add(block);
    }
    return total;
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
      if (cuda != null) {
        cuda.addSquares(source, scale, target, count);
        return;
      }
      pool.run(count, AVERAGE_GRAIN, provider.addSquares(source, scale, target));
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
    if (isEmpty(batch) || inputs == 0) {
      return;
    }
    try {
      int examples = shape.examples();
      long bytes =
          cuda != null
              ? cuda.outerSquaresBytes(batch, inputs)
              : provider.outerSquaresBytes(batch, inputs, pool.threads());
      long most = cuda != null ? CUDA_WORKSPACE_BYTES : WORKSPACE_BYTES;
      int part = Math.clamp((long) (examples * ((double) most / bytes)), 1, examples);
      for (int from = 0; from < examples; from += part) {
        int n = Math.min(part, examples - from);
        addOuterSquares(examples(batch, from, n), examples(activations, from), inputs, target);
      }
    } finally {
      Reference.reachabilityFence(g);
      Reference.reachabilityFence(a);
      Reference.reachabilityFence(weights);
      Reference.reachabilityFence(fisher);
    }
  }

  private void addOuterSquares(Batch batch, Activations a, long inputs, MemorySegment fisher) {
    if (cuda != null) {
      cuda.addOuterSquares(batch, a, inputs, fisher);
      return;
    }
    MemorySegment space = workspace(provider.outerSquaresBytes(batch, inputs, pool.threads()));
    try (Arena arena = Arena.ofConfined()) {
      pool.run(provider.outerSquares(batch, a, inputs, fisher, space, pool.threads(), arena));
    }
  }

  private static Batch examples(Batch batch, int from, int n) {
    Cotangents g = batch.g();
    MemorySegment weights = batch.weights();
    return new Batch(
        new TokenShape(batch.shape().probes(), n, batch.shape().tokens()),
        batch.width(),
        new Cotangents(
            g.data().asSlice(4L * from * g.exampleStride()),
            g.probeStride(),
            g.exampleStride(),
            g.tokenStride()),
        weights == null ? null : weights.asSlice(4L * from),
        batch.weightStride());
  }

  private static Activations examples(Activations a, int from) {
    return new Activations(
        a.data().asSlice(4L * from * a.exampleStride()), a.exampleStride(), a.tokenStride());
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
    if (isEmpty(batch)) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      if (cuda != null) {
        cuda.addTokenSumSquares(batch, target);
        return;
      }
      pool.run(outputs, grain(batch), provider.addTokenSumSquares(batch, target, arena));
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
    if (isEmpty(batch)) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      if (cuda != null) {
        cuda.addLayerNormSquares(batch, activations, means, rstds, scale, shift);
        return;
      }
      pool.run(
          width,
          grain(batch),
          provider.addLayerNormSquares(batch, activations, means, rstds, scale, shift, arena));
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
    MemorySegment seen = cuda == null ? positions : cuda.fetch(positions);
    for (long k = 0; k < count; k++) {
      long id = seen.get(JAVA_LONG_UNALIGNED, 8 * k);
      if (id < 0 || id >= rows) {
        throw new IllegalArgumentException(
            "ids[%d] = %d does not lie in [0, %d)".formatted(k, id, rows));
      }
    }
    if (isEmpty(batch)) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      if (cuda != null) {
        cuda.addEmbeddingSquares(batch, positions, rows, target);
        return;
      }
      pool.run(
          width, grain(batch), provider.addEmbeddingSquares(batch, positions, rows, target, arena));
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
    return cuda != null ? cuda.workspaceBytes() : workspace.byteSize();
  }

  /** Ends the worker threads and frees the workspace. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      pool.close();
      workspaceArena.close();
      if (cuda != null) {
        cuda.close();
      }
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

  private static boolean isEmpty(Batch batch) {
    return batch.shape().probes() == 0
        || batch.shape().examples() == 0
        || batch.shape().tokens() == 0
        || batch.width() == 0;
  }

  /**
   * Columns for each range: four ranges for each thread, in multiples of a cache line; all where
   * there is little to do.
   */
  private long grain(Batch batch) {
    TokenShape shape = batch.shape();
    double elements = (double) shape.probes() * shape.examples() * shape.tokens() * batch.width();
    if (elements < SMALL) {
      return batch.width();
    }
    return Math.ceilDiv(Math.ceilDiv(batch.width(), 4L * pool.threads()), 16) * 16;
  }

  @SuppressWarnings("MustBeClosed") // owned by this object, closed by close() or by the next growth
  private static Arena newWorkspaceArena() {
    return Arena.ofShared();
  }

  /** Grow-only: the sizes of a model's layers repeat with every batch. */
  private MemorySegment workspace(long bytes) {
    if (bytes > workspace.byteSize()) {
      workspaceArena.close();
      workspaceArena = newWorkspaceArena();
      workspace = workspaceArena.allocate(bytes, 64);
    }
    return workspace;
  }
}
