package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import org.fishermerge.kernels.KernelProvider.Batch;
import org.jspecify.annotations.Nullable;

/**
 * The kernels on one GPU. {@link Kernels} has checked all arguments.
 *
 * <p>Fisher accumulations take operands in the GPU's memory, are put on its default stream, where
 * libtorch's work is too, and are finished when {@link KernelMemory#read} returns. Averages take
 * operands in the process's memory, of any size: see {@link #weightedAverages}.
 */
final class CudaKernels implements AutoCloseable {
  /** What {@code fmc_precision} calls them. */
  private static final List<String> PRECISIONS = List.of("fp32", "tf32", "bf16");

  private static final long SLOT_BYTES = 64L << 20;

  /** Alignment of operands in a slot: more than any access of the kernels needs. */
  private static final long ALIGNMENT = 256;

  /** What a thread copies at a time. */
  private static final long MOVE_BYTES = 1 << 20;

  /** An {@code fm_value_statistics}. */
  private static final long STATISTICS_BYTES = 24;

  /** An {@code fmc_outer_square_plan}. */
  private static final long PLAN_BYTES = 16;

  private static final long DEFAULT_STREAM = 0;

  private final CudaBindings cuda;
  private final int index;
  private final CudaBindings.Device device;
  private final int precision;
  private final boolean synchronous;
  private final long slotBytes = Long.getLong(KernelOptions.CUDA_SLOT_BYTES, SLOT_BYTES);

  private long workspace;
  private long workspaceBytes;
  private long sideStream;
  private @Nullable List<Slot> slots;

  private CudaKernels(CudaBindings cuda, int index, int precision, boolean synchronous) {
    this.cuda = cuda;
    this.index = index;
    this.device = cuda.device(index);
    this.precision = precision;
    this.synchronous = synchronous;
  }

  /**
   * On the GPU and in the precision of some options.
   *
   * @throws IllegalStateException if there is none that can run the kernels; the message says why
   *     in one sentence
   * @throws IllegalArgumentException if the precision is unknown
   */
  static CudaKernels open(KernelOptions options) {
    String precision = options.gpuPrecision();
    if (!PRECISIONS.contains(precision)) {
      throw new IllegalArgumentException(
          "%s=%s is unknown; known: %s"
              .formatted(KernelOptions.CUDA_PRECISION, precision, String.join(", ", PRECISIONS)));
    }
    return new CudaKernels(
        CudaBindings.load(),
        options.gpu(),
        PRECISIONS.indexOf(precision),
        Boolean.getBoolean(KernelOptions.CUDA_SYNCHRONOUS));
  }

  String isa() {
    return "sm_%d%d, %s, %s"
        .formatted(device.major(), device.minor(), PRECISIONS.get(precision), device.name());
  }

  String library() {
    return cuda.library();
  }

  /** For instance {@code NVIDIA H200 (139.8 GiB, 138.1 GiB free)}. */
  String describe() {
    double gib = 1 << 30;
    return String.format(
        Locale.ROOT,
        "%s (%.1f GiB, %.1f GiB free)",
        device.name(),
        device.memoryBytes() / gib,
        device.freeBytes() / gib);
  }

  // ---- memory ----

  /** Now; other processes may take of it too. */
  long freeBytes() {
    return cuda.device(index).freeBytes();
  }

  /** New and empty. */
  KernelMemory memory() {
    return new DeviceMemory();
  }

  private final class DeviceMemory implements KernelMemory {
    private final List<Long> allocated = new ArrayList<>();

    @Override
    @SuppressWarnings("restricted")
    public MemorySegment allocate(long bytes) {
      cuda.setDevice(index);
      long address = cuda.malloc(Math.max(bytes, 1));
      allocated.add(address);
      cuda.clear(address, bytes, DEFAULT_STREAM);
      return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    @Override
    public void clear(MemorySegment segment) {
      cuda.setDevice(index);
      cuda.clear(segment.address(), segment.byteSize(), DEFAULT_STREAM);
    }

    @Override
    public void write(MemorySegment from, MemorySegment to) {
      transfer(from, to);
    }

    @Override
    public void read(MemorySegment from, MemorySegment to) {
      transfer(from, to);
    }

    private void transfer(MemorySegment from, MemorySegment to) {
      if (from.byteSize() != to.byteSize()) {
        throw new IllegalArgumentException(
            "%d bytes into %d".formatted(from.byteSize(), to.byteSize()));
      }
      cuda.setDevice(index);
      cuda.copy(to.address(), from.address(), from.byteSize(), DEFAULT_STREAM);
      cuda.synchronize(DEFAULT_STREAM);
    }

    @Override
    public boolean isHost() {
      return false;
    }

    @Override
    public void close() {
      cuda.setDevice(index);
      allocated.forEach(cuda::free);
      allocated.clear();
    }
  }

  /** A copy in the process's memory. */
  MemorySegment fetch(MemorySegment onDevice) {
    cuda.setDevice(index);
    MemorySegment copy = Arena.ofAuto().allocate(onDevice.byteSize(), 8);
    cuda.copy(copy.address(), onDevice.address(), onDevice.byteSize(), DEFAULT_STREAM);
    cuda.synchronize(DEFAULT_STREAM);
    return copy;
  }

  /** Grow-only: the sizes of a model's layers repeat with every batch. */
  private long workspace(long bytes) {
    if (bytes > workspaceBytes) {
      // What still uses the old one ends first: freeing waits for the device.
      if (workspace != 0) {
        cuda.free(workspace);
        workspace = 0;
        workspaceBytes = 0;
      }
      workspace = cuda.malloc(bytes);
      workspaceBytes = bytes;
    }
    return workspace;
  }

  long workspaceBytes() {
    return workspaceBytes;
  }

  /** For what kernels may do beside others. */
  private long sideStream() {
    if (sideStream == 0) {
      sideStream = cuda.createStream();
    }
    return sideStream;
  }

  private void finish() {
    if (synchronous) {
      cuda.synchronize(DEFAULT_STREAM);
    }
  }

  // ---- Fisher accumulation: operands in the GPU's memory ----

  void addSquares(MemorySegment gradient, double scale, MemorySegment fisher, long count) {
    cuda.setDevice(index);
    cuda.addSquares(gradient.address(), scale, fisher.address(), count, DEFAULT_STREAM);
    finish();
  }

  /** Bytes that {@link #addOuterSquares} takes from the workspace. */
  long outerSquaresBytes(Batch batch, long inputs) {
    try (Arena arena = Arena.ofConfined()) {
      cuda.setDevice(index);
      Activations any = new Activations(batch.g().data(), 0, 0);
      return outerSquaresPlan(
              CpuKernels.cotangents(batch, arena),
              CpuKernels.activations(any, inputs, arena),
              arena)
          .get(JAVA_LONG, 0);
    }
  }

  private MemorySegment outerSquaresPlan(long g, long a, Arena arena) {
    MemorySegment plan = arena.allocate(PLAN_BYTES, 8);
    cuda.planOuterSquares(g, a, precision, plan.address());
    return plan;
  }

  void addOuterSquares(Batch batch, Activations a, long inputs, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      cuda.setDevice(index);
      long g = CpuKernels.cotangents(batch, arena);
      long activations = CpuKernels.activations(a, inputs, arena);
      MemorySegment plan = outerSquaresPlan(g, activations, arena);
      long space = workspace(plan.get(JAVA_LONG, 0));
      cuda.addOuterSquares(
          g, activations, plan.address(), space, fisher.address(), DEFAULT_STREAM, sideStream());
      finish();
    }
  }

  void addTokenSumSquares(Batch batch, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      cuda.setDevice(index);
      long g = CpuKernels.cotangents(batch, arena);
      long space = workspace(cuda.tokenSumWorkspace(g));
      cuda.addTokenSumSquares(g, space, fisher.address(), DEFAULT_STREAM);
      finish();
    }
  }

  void addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift) {
    try (Arena arena = Arena.ofConfined()) {
      cuda.setDevice(index);
      long g = CpuKernels.cotangents(batch, arena);
      long space = workspace(cuda.layerNormWorkspace(g));
      cuda.addLayerNormSquares(
          g,
          CpuKernels.activations(x, batch.width(), arena),
          mean.address(),
          rstd.address(),
          space,
          fisherScale.address(),
          fisherShift.address(),
          DEFAULT_STREAM);
      finish();
    }
  }

  void addEmbeddingSquares(Batch batch, MemorySegment ids, long rows, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      cuda.setDevice(index);
      cuda.addEmbeddingSquares(
          CpuKernels.cotangents(batch, arena),
          ids.address(),
          rows,
          fisher.address(),
          DEFAULT_STREAM);
      finish();
    }
  }

  // ---- averages: operands in the process's memory ----

  /**
   * Averages whose operands pass through the GPU in pieces. There are two slots, each with
   * page-locked memory, device memory and a stream of its own: while one's operands are copied in,
   * averaged and copied back, the other is emptied and filled by the threads of the pool, so that
   * the bus is busy in both directions.
   *
   * <p>Averages have the bits of the other providers. Sums of squares are over other pieces, in
   * another order; they depend on the arguments alone.
   */
  List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds, WorkerPool pool) {
    cuda.setDevice(index);
    List<Slot> both = slots();
    Results results = new Results(averages.size(), thresholds.size() + 1);
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < averages.size(); i++) {
      WeightedAverage average = averages.get(i);
      long each = elementsOfPart(average, thresholds.size() + 1);
      for (long from = 0; from < average.count(); from += each) {
        parts.add(new Part(i, average, from, Math.min(each, average.count() - from)));
      }
    }
    boolean whole = false;
    try {
      int turn = 0;
      for (int next = 0; next < parts.size(); turn++) {
        Slot slot = both.get(turn % both.size());
        slot.empty(pool, results);
        next = slot.fill(parts, next, thresholds, pool);
      }
      // In the order in which they were filled, so that sums are added in order.
      for (int k = 0; k < both.size(); k++, turn++) {
        both.get(turn % both.size()).empty(pool, results);
      }
      whole = true;
    } finally {
      if (!whole) {
        both.forEach(Slot::discard);
      }
    }
    return results.all();
  }

  private List<Slot> slots() {
    List<Slot> opened = slots;
    if (opened == null) {
      opened = List.of(new Slot(), new Slot());
      slots = opened;
    }
    return opened;
  }

  /** As many as a slot has room for, in multiples of what the kernels reduce at a time. */
  private long elementsOfPart(WeightedAverage average, int kinds) {
    long operands = average.inputs().size() * 2L + 2 + kinds;
    long each = average.outType().bytes();
    for (WeightedInput input : average.inputs()) {
      each += input.valueType().bytes();
      each += input.fisher() == null ? 0 : input.fisherType().bytes();
    }
    long room = (slotBytes - operands * ALIGNMENT) / each;
    long grain = 16384;
    if (room < grain) {
      throw new IllegalArgumentException(
          "%d models are too many for the GPU at once".formatted(average.inputs().size()));
    }
    return room / grain * grain;
  }

  /** Some elements of one average. */
  private record Part(int item, WeightedAverage average, long from, long count) {}

  /** Statistics by average and kind: of each Fisher, and of the result. */
  private static final class Results {
    private final ValueStatistics[][] found;
    private final int kinds;

    Results(int items, int kinds) {
      this.kinds = kinds;
      found = new ValueStatistics[items][kinds];
      for (ValueStatistics[] row : found) {
        Arrays.fill(row, ValueStatistics.EMPTY);
      }
    }

    void add(int item, int kind, ValueStatistics more) {
      found[item][kind] = found[item][kind].plus(more);
    }

    int kinds() {
      return kinds;
    }

    List<WeightedAverage.Statistics> all() {
      List<WeightedAverage.Statistics> all = new ArrayList<>();
      for (ValueStatistics[] ofItem : found) {
        List<ValueStatistics> row = List.of(ofItem);
        all.add(new WeightedAverage.Statistics(row.subList(0, kinds - 1), row.get(kinds - 1)));
      }
      return all;
    }
  }

  /** Bytes to move between the process's memory and a slot's. */
  private record Move(MemorySegment from, MemorySegment to) {}

  /** Half of the pipeline. Offsets are the same in its page-locked and in its device memory. */
  private final class Slot {
    private final long stream = cuda.createStream();
    private final MemorySegment pinned = cuda.hostAlloc(slotBytes);
    private final long onDevice = cuda.malloc(slotBytes);
    private final long scratch = cuda.malloc(cuda.statisticsWorkspace(slotBytes));

    /** What the device works on. */
    private final List<Placed> work = new ArrayList<>();

    /**
     * A part, its operands on the device, and the offsets of what it takes: operands, then
     * statistics, then the result.
     */
    private record Placed(
        Part part, List<WeightedInput> inputs, long begin, long statistics, long out, long end) {}

    /** Puts parts in from {@code next} on, as many as there is room for, and answers the next. */
    int fill(List<Part> parts, int next, List<Double> thresholds, WorkerPool pool) {
      List<Move> moves = new ArrayList<>();
      long end = 0;
      int last = next;
      for (; last < parts.size(); last++) {
        List<Move> operands = new ArrayList<>();
        Placed placed = place(parts.get(last), end, thresholds.size() + 1, operands);
        if (placed.end() > slotBytes) {
          break; // never the first: elementsOfPart sees to that
        }
        end = placed.end();
        work.add(placed);
        moves.addAll(operands);
      }
      move(moves, pool);
      work.forEach(placed -> run(placed, thresholds));
      return last;
    }

    private Placed place(Part part, long begin, int kinds, List<Move> moves) {
      List<WeightedInput> inputs = new ArrayList<>();
      long at = begin;
      for (WeightedInput input : part.average().inputs()) {
        long values = at;
        at = stage(part, input.values(), input.valueType(), at, moves);
        MemorySegment fisher = input.fisher();
        long fisherAt = at;
        if (fisher != null) {
          at = stage(part, fisher, input.fisherType(), at, moves);
        }
        inputs.add(
            new WeightedInput(
                MemorySegment.ofAddress(onDevice + values),
                input.valueType(),
                fisher == null ? null : MemorySegment.ofAddress(onDevice + fisherAt),
                input.fisherType(),
                input.scale(),
                input.offset()));
      }
      long out = align(at + kinds * STATISTICS_BYTES);
      long end = align(out + part.count() * part.average().outType().bytes());
      return new Placed(part, inputs, begin, at, out, end);
    }

    private long stage(
        Part part, MemorySegment operand, ElementType type, long at, List<Move> moves) {
      long bytes = part.count() * type.bytes();
      if (at + bytes <= slotBytes) {
        moves.add(
            new Move(
                operand.asSlice(part.from() * type.bytes(), bytes), pinned.asSlice(at, bytes)));
      }
      return align(at + bytes);
    }

    private void run(Placed placed, List<Double> thresholds) {
      WeightedAverage average = placed.part().average();
      long count = placed.part().count();
      cuda.copy(
          onDevice + placed.begin(),
          pinned.address() + placed.begin(),
          placed.statistics() - placed.begin(),
          stream);
      long out = onDevice + placed.out();
      try (Arena arena = Arena.ofConfined()) {
        cuda.weightedAverage(
            CpuKernels.weightedInputs(placed.inputs(), arena),
            placed.inputs().size(),
            out,
            CpuKernels.code(average.outType()),
            count,
            stream);
      }
      for (int i = 0; i < thresholds.size(); i++) {
        WeightedInput input = placed.inputs().get(i);
        long fisher = Objects.requireNonNull(input.fisher()).address();
        statistics(placed, i, fisher, input.fisherType(), thresholds.get(i));
      }
      statistics(placed, thresholds.size(), out, average.outType(), Double.NEGATIVE_INFINITY);
      cuda.copy(
          pinned.address() + placed.statistics(),
          onDevice + placed.statistics(),
          placed.out() + count * average.outType().bytes() - placed.statistics(),
          stream);
    }

    private void statistics(
        Placed placed, int kind, long values, ElementType type, double threshold) {
      cuda.statistics(
          values,
          CpuKernels.code(type),
          placed.part().count(),
          threshold,
          scratch,
          onDevice + placed.statistics() + kind * STATISTICS_BYTES,
          stream);
    }

    /** Waits for the device, and takes its results. */
    void empty(WorkerPool pool, Results results) {
      if (work.isEmpty()) {
        return;
      }
      cuda.synchronize(stream);
      List<Move> moves = new ArrayList<>();
      for (Placed placed : work) {
        Part part = placed.part();
        long width = part.average().outType().bytes();
        moves.add(
            new Move(
                pinned.asSlice(placed.out(), part.count() * width),
                part.average().out().asSlice(part.from() * width, part.count() * width)));
        for (int kind = 0; kind < results.kinds(); kind++) {
          long at = placed.statistics() + kind * STATISTICS_BYTES;
          results.add(
              part.item(),
              kind,
              new ValueStatistics(
                  pinned.get(JAVA_DOUBLE, at),
                  pinned.get(JAVA_DOUBLE, at + 8),
                  pinned.get(JAVA_LONG, at + 16)));
        }
      }
      work.clear();
      move(moves, pool);
    }

    /** Waits for the device, and forgets what it did. */
    void discard() {
      work.clear();
      cuda.synchronize(stream);
    }

    void close() {
      cuda.destroyStream(stream);
      cuda.free(onDevice);
      cuda.free(scratch);
      cuda.hostFree(pinned);
    }
  }

  private static long align(long offset) {
    return Math.ceilDiv(offset, ALIGNMENT) * ALIGNMENT;
  }

  /** In pieces that the threads share. */
  private static void move(List<Move> moves, WorkerPool pool) {
    List<Move> pieces = new ArrayList<>();
    for (Move move : moves) {
      long bytes = move.from().byteSize();
      for (long at = 0; at < bytes; at += MOVE_BYTES) {
        long piece = Math.min(MOVE_BYTES, bytes - at);
        pieces.add(new Move(move.from().asSlice(at, piece), move.to().asSlice(at, piece)));
      }
    }
    pool.run(
        pieces.size(),
        1,
        (worker, begin, end) -> {
          for (long k = begin; k < end; k++) {
            Move piece = pieces.get((int) k);
            piece.to().copyFrom(piece.from());
          }
        });
  }

  @Override
  public void close() {
    cuda.setDevice(index);
    if (slots != null) {
      slots.forEach(Slot::close);
      slots = null;
    }
    if (workspace != 0) {
      cuda.free(workspace);
      workspace = 0;
    }
    if (sideStream != 0) {
      cuda.destroyStream(sideStream);
      sideStream = 0;
    }
  }
}
