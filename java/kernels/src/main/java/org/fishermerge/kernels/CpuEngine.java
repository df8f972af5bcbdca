package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * All operations on the CPU: cuts each into ranges, which the threads of a pool work off with the
 * kernels of one provider. Where a result depends on the ranges, they are fixed blocks.
 */
final class CpuEngine implements Engine {
  private static final long SUM_BLOCK = 65536;
  private static final long ELEMENT_GRAIN = 65536;

  /** Elements below which waking another thread costs more than it saves. */
  private static final long SMALL = 32768;

  /** A batch whose packed operands exceed this is taken in parts. */
  private static final long WORKSPACE_BYTES = 256L << 20;

  private final KernelProvider provider;
  private final FileWindows files = new FileWindows();

  /** The provider's, for operands that may lie in files. */
  private final ElementKernels elements;

  private final KernelInfo info;
  private final WorkerPool pool;
  private Arena workspaceArena = newWorkspaceArena();
  private MemorySegment workspace = MemorySegment.NULL;

  /**
   * With a pool of its own.
   *
   * @param notes why a better provider or instruction set is off
   */
  CpuEngine(KernelProvider provider, int threads, List<String> notes) {
    this.provider = provider;
    this.elements = provider.isNative() ? new WindowedKernels(provider, files) : provider;
    this.pool = new WorkerPool(threads);
    this.info =
        new KernelInfo(
            provider.provider().text(),
            provider.isa(),
            provider.isNative() ? Optional.of(NativeBindings.LIBRARY) : Optional.empty(),
            provider.isNative() ? Optional.of(NativeBindings.ABI_VERSION) : Optional.empty(),
            threads,
            notes);
  }

  @Override
  public KernelInfo info() {
    return info;
  }

  /** The threads, for others that have work for them while this engine has none. */
  WorkerPool pool() {
    return pool;
  }

  /** Mapped files in which operands may lie. */
  FileWindows files() {
    return files;
  }

  @Override
  public boolean usesGpu() {
    return false;
  }

  @Override
  public OptionalLong gpuFreeBytes() {
    return OptionalLong.empty();
  }

  @Override
  public MappedGuard guard(List<MappedFile> mapped) {
    return provider.isNative() ? MappedGuard.of(mapped, files) : MappedGuard.none();
  }

  @Override
  public ResidentInputs keepResident(List<MemorySegment> segments) {
    return new ResidentInputs(false, "inputs are read where they are", () -> {});
  }

  @Override
  public KernelMemory memory() {
    return new HostMemory();
  }

  @Override
  public MemorySegment readable(MemorySegment operand) {
    return operand;
  }

  @Override
  public void weightedAverage(WeightedAverage average) {
    files.nextOperation();
    try (Arena arena = Arena.ofConfined()) {
      pool.run(average.count(), ELEMENT_GRAIN, elements.weightedAverage(average, arena));
    }
  }

  @Override
  public List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds, AverageVisitor visitor) {
    files.nextOperation();
    int out = thresholds.size();
    long[] counts = averages.stream().mapToLong(WeightedAverage::count).toArray();
    StatisticsBlocks blocks = new StatisticsBlocks(counts, out + 1);
    try (Arena arena = Arena.ofConfined()) {
      List<RangeWork> tasks = new ArrayList<>(averages.size());
      for (WeightedAverage average : averages) {
        tasks.add(elements.weightedAverage(average, arena));
      }
      blocks.run(
          pool,
          (worker, item, from, to, found) -> {
            WeightedAverage average = averages.get(item);
            tasks.get(item).run(worker, from, to);
            for (int i = 0; i < out; i++) {
              WeightedInput input = average.inputs().get(i);
              MemorySegment fisher = Objects.requireNonNull(input.fisher());
              found[i] =
                  elements.statistics(fisher, input.fisherType(), from, to, thresholds.get(i));
            }
            found[out] =
                elements.statistics(
                    average.out(), average.outType(), from, to, Double.NEGATIVE_INFINITY);
            visitor.visit(
                item,
                from,
                to,
                i -> {
                  WeightedInput input = average.inputs().get(i);
                  return elements.view(
                      Objects.requireNonNull(input.fisher()), input.fisherType(), from, to);
                });
          });
    }
    List<WeightedAverage.Statistics> result = new ArrayList<>();
    for (int item = 0; item < averages.size(); item++) {
      List<ValueStatistics> found = blocks.total(item);
      result.add(new WeightedAverage.Statistics(found.subList(0, out), found.get(out)));
    }
    return result;
  }

  @Override
  public List<ValueStatistics> statistics(List<TypedValues> ranges, double threshold) {
    files.nextOperation();
    long[] counts =
        ranges.stream()
            .mapToLong(range -> range.data().byteSize() / range.type().bytes())
            .toArray();
    StatisticsBlocks blocks = new StatisticsBlocks(counts, 1);
    blocks.run(
        pool,
        (worker, item, from, to, found) -> {
          TypedValues range = ranges.get(item);
          found[0] = elements.statistics(range.data(), range.type(), from, to, threshold);
        });
    List<ValueStatistics> result = new ArrayList<>();
    for (int item = 0; item < counts.length; item++) {
      result.add(blocks.total(item).getFirst());
    }
    return result;
  }

  @Override
  public PairSums pairSums(List<TypedValues> rows, long count) {
    files.nextOperation();
    PairSums[] blocks = new PairSums[Math.toIntExact(Math.ceilDiv(count, SUM_BLOCK))];
    pool.run(
        blocks.length,
        1,
        (worker, begin, end) -> {
          for (long k = begin; k < end; k++) {
            long from = k * SUM_BLOCK;
            PairSums block = new PairSums(rows.size());
            elements.pairSums(rows, from, Math.min(count, from + SUM_BLOCK), block);
            blocks[(int) k] = block;
          }
        });
    PairSums total = new PairSums(rows.size());
    for (PairSums block : blocks) {
      total.add(block);
    }
    return total;
  }

  @Override
  public List<ValueStatistics> mixTaskVectors(List<TaskVectorMix> mixes) {
    files.nextOperation();
    long[] counts = mixes.stream().mapToLong(TaskVectorMix::count).toArray();
    StatisticsBlocks blocks = new StatisticsBlocks(counts, 1);
    try (Arena arena = Arena.ofConfined()) {
      List<RangeWork> tasks = new ArrayList<>(mixes.size());
      for (TaskVectorMix mix : mixes) {
        tasks.add(elements.taskVectors(mix, arena));
      }
      blocks.run(
          pool,
          (worker, item, from, to, found) -> {
            TaskVectorMix mix = mixes.get(item);
            tasks.get(item).run(worker, from, to);
            found[0] =
                elements.statistics(mix.out(), mix.outType(), from, to, Double.NEGATIVE_INFINITY);
          });
    }
    List<ValueStatistics> result = new ArrayList<>();
    for (int item = 0; item < counts.length; item++) {
      result.add(blocks.total(item).getFirst());
    }
    return result;
  }

  @Override
  public List<RankedMagnitude> rankedMagnitudes(List<MagnitudeQuery> queries) {
    files.nextOperation();
    return new MagnitudeRanks(provider, elements, pool, this::workspace).find(queries);
  }

  /** F32 values that a thread takes to count those of a block. */
  private static final long COUNTED = SUM_BLOCK + MagnitudeScan.SLACK;

  static long countingBytes(int threads) {
    return threads * COUNTED * Float.BYTES;
  }

  @Override
  public void countMagnitudes(List<CountedDifferences> differences) {
    files.nextOperation();
    Map<MagnitudeCounts, List<CountedDifferences>> all = new LinkedHashMap<>();
    for (CountedDifferences each : differences) {
      all.computeIfAbsent(each.into(), into -> new ArrayList<>()).add(each);
    }
    all.forEach(this::countMagnitudes);
  }

  /** A block of a tensor. */
  private record Counted(MagnitudeScan magnitudes, long from, long until) {}

  private void countMagnitudes(MagnitudeCounts into, List<CountedDifferences> differences) {
    MemorySegment space = workspace(countingBytes(pool.threads()));
    long[][] counts = new long[pool.threads()][MagnitudeCounts.COUNTERS];
    try (Arena arena = Arena.ofConfined()) {
      List<Counted> blocks = new ArrayList<>();
      for (CountedDifferences each : differences) {
        MagnitudeScan magnitudes = elements.magnitudes(each.values(), each.base(), arena);
        for (long from = 0; from < each.count(); from += SUM_BLOCK) {
          blocks.add(new Counted(magnitudes, from, Math.min(each.count(), from + SUM_BLOCK)));
        }
      }
      pool.run(
          blocks.size(),
          1,
          (worker, begin, end) -> {
            MemorySegment found =
                space.asSlice(worker * COUNTED * Float.BYTES, COUNTED * Float.BYTES);
            for (long k = begin; k < end; k++) {
              count(into, blocks.get((int) k), found, counts[worker]);
            }
          });
    }
    for (long[] ofWorker : counts) {
      into.add(ofWorker);
    }
  }

  private static void count(
      MagnitudeCounts into, Counted block, MemorySegment found, long[] counts) {
    MagnitudeScan.Counts there =
        block.magnitudes.scan(0, Float.POSITIVE_INFINITY, found, block.from, block.until);
    add(into, 0, there.atLow(), counts);
    add(into, Float.POSITIVE_INFINITY, there.atHigh(), counts);
    for (long j = 0; j < there.between(); j++) {
      add(into, found.getAtIndex(ValueLayout.JAVA_FLOAT, j), 1, counts);
    }
  }

  private static void add(MagnitudeCounts into, float magnitude, long times, long[] counts) {
    int counter = into.counter(magnitude);
    if (counter >= 0) {
      counts[counter] += times;
    }
  }

  @Override
  public List<TaskVectorNorms> taskVectorNorms(TaskVectorMix mix) {
    files.nextOperation();
    int vectors = mix.vectors().size();
    int blocks = Math.toIntExact(Math.ceilDiv(mix.count(), SUM_BLOCK));
    TaskVectorNorms[] found = new TaskVectorNorms[vectors * blocks];
    pool.run(
        found.length,
        1,
        (worker, begin, end) -> {
          for (long k = begin; k < end; k++) {
            long from = k / vectors * SUM_BLOCK;
            found[(int) k] =
                elements.taskVectorNorms(
                    mix.vectors().get((int) (k % vectors)),
                    mix.base(),
                    mix.first(),
                    from,
                    Math.min(mix.count(), from + SUM_BLOCK));
          }
        });
    List<TaskVectorNorms> totals = new ArrayList<>();
    for (int i = 0; i < vectors; i++) {
      double all = 0;
      double kept = 0;
      for (int b = 0; b < blocks; b++) {
        all += found[b * vectors + i].all();
        kept += found[b * vectors + i].kept();
      }
      totals.add(new TaskVectorNorms(all, kept));
    }
    return totals;
  }

  @Override
  public void addSquares(MemorySegment gradient, double scale, MemorySegment fisher, long count) {
    pool.run(count, ELEMENT_GRAIN, provider.addSquares(gradient, scale, fisher));
  }

  @Override
  public void addSquaredGradients(Batch batch, Activations a, long inputs, MemorySegment fisher) {
    int threads = pool.threads();
    batch.split(
        a,
        provider.squaredGradientsBytes(batch, inputs, threads),
        WORKSPACE_BYTES,
        (part, activations) -> {
          MemorySegment space = workspace(provider.squaredGradientsBytes(part, inputs, threads));
          try (Arena arena = Arena.ofConfined()) {
            pool.run(
                provider.squaredGradients(
                    part, activations, inputs, fisher, space, threads, arena));
          }
        });
  }

  @Override
  public void addTokenSumSquares(Batch batch, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      pool.run(batch.width(), grain(batch), provider.addTokenSumSquares(batch, fisher, arena));
    }
  }

  @Override
  public void addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift) {
    try (Arena arena = Arena.ofConfined()) {
      pool.run(
          batch.width(),
          grain(batch),
          provider.addLayerNormSquares(batch, x, mean, rstd, fisherScale, fisherShift, arena));
    }
  }

  @Override
  public void addEmbeddingSquares(Batch batch, MemorySegment ids, long rows, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      pool.run(
          batch.width(),
          grain(batch),
          provider.addEmbeddingSquares(batch, ids, rows, fisher, arena));
    }
  }

  /**
   * Columns for each range: four ranges for each thread, in multiples of a cache line; all where
   * there is little to do.
   */
  private long grain(Batch batch) {
    if (batch.elements() < SMALL) {
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
      workspace = MemorySegment.NULL; // also if there is no memory for the new one
      workspaceArena.close();
      workspaceArena = newWorkspaceArena();
      workspace = workspaceArena.allocate(bytes, 64);
    }
    return workspace;
  }

  @Override
  public long workspaceBytes() {
    return workspace.byteSize();
  }

  @Override
  public void close() {
    pool.close();
    workspaceArena.close();
  }
}
