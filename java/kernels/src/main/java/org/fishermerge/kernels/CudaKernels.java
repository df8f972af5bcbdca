package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.fishermerge.kernels.KernelProvider.Batch;

/**
 * The kernels on one GPU. {@link Kernels} has checked all arguments.
 *
 * <p>Fisher accumulations take operands in the GPU's memory, are put on its default stream, where
 * libtorch's work is too, and are finished when {@link KernelMemory#read} returns. Averages take
 * operands in the process's memory, of any size: see {@link CudaAverages}.
 */
final class CudaKernels implements AutoCloseable {
  /** What {@code fmc_precision} calls them. */
  private static final List<String> PRECISIONS = List.of("fp32", "tf32", "bf16");

  /** An {@code fmc_outer_square_plan}. */
  private static final long PLAN_BYTES = 16;

  private static final long DEFAULT_STREAM = 0;

  private final CudaBindings cuda;
  private final int index;
  private final CudaBindings.Device device;
  private final int precision;
  private final boolean synchronous;
  private final CudaAverages averages;

  private long workspace;
  private long workspaceBytes;
  private long sideStream;

  private CudaKernels(CudaBindings cuda, int index, int precision, boolean synchronous) {
    this.cuda = cuda;
    this.index = index;
    this.device = cuda.device(index);
    this.precision = precision;
    this.synchronous = synchronous;
    this.averages = new CudaAverages(cuda, index);
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

  CudaAverages averages() {
    return averages;
  }

  @Override
  public void close() {
    cuda.setDevice(index);
    averages.close();
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
