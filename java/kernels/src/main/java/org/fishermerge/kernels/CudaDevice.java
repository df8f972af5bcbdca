package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * One GPU and what kernels need on it beside their operands: memory, workspace, streams. The work
 * of libtorch is on its default stream, so that kernels on that stream run after it. Not
 * thread-safe.
 */
final class CudaDevice implements AutoCloseable {
  static final long DEFAULT_STREAM = 0;

  /** Names of the {@code fmc_precision} values, in their order. */
  static final List<String> PRECISIONS = List.of("fp32", "tf32", "bf16");

  private final CudaBindings cuda;
  private final int index;
  private final CudaBindings.Device device;
  private final int precision;

  private long workspace;
  private long workspaceBytes;
  private long sideStream;

  private CudaDevice(CudaBindings cuda, int index, int precision) {
    this.cuda = cuda;
    this.index = index;
    this.device = cuda.device(index);
    this.precision = precision;
  }

  /**
   * The GPU of some options, with their precision.
   *
   * @throws IllegalStateException if there is none that can run the kernels; the message says why
   *     in one sentence
   * @throws IllegalArgumentException if the precision is unknown
   */
  static CudaDevice open(KernelOptions options) {
    String precision = options.gpuPrecision();
    if (!PRECISIONS.contains(precision)) {
      throw new IllegalArgumentException(
          "%s=%s is unknown; known: %s"
              .formatted(KernelOptions.CUDA_PRECISION, precision, String.join(", ", PRECISIONS)));
    }
    return new CudaDevice(CudaBindings.load(), options.gpu(), PRECISIONS.indexOf(precision));
  }

  CudaBindings bindings() {
    return cuda;
  }

  int index() {
    return index;
  }

  /** The {@code fmc_precision} of weight gradients. */
  int precision() {
    return precision;
  }

  /** Architecture, precision and name. */
  String isa() {
    return "sm_%d%d, %s, %s"
        .formatted(device.major(), device.minor(), PRECISIONS.get(precision), device.name());
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

  /** Makes this the device of the calling thread, as every call of a kernel needs it. */
  void makeCurrent() {
    cuda.setDevice(index);
  }

  /** Bytes that are free now; other processes may take of them too. */
  long freeBytes() {
    return cuda.device(index).freeBytes();
  }

  /** Waits for all work on the default stream. */
  void synchronize() {
    cuda.synchronize(DEFAULT_STREAM);
  }

  /** A copy in the process's memory, made when the work queued before is finished. */
  MemorySegment copyToHost(MemorySegment onDevice) {
    makeCurrent();
    MemorySegment copy = Arena.ofAuto().allocate(onDevice.byteSize(), 8);
    cuda.copy(copy.address(), onDevice.address(), onDevice.byteSize(), DEFAULT_STREAM);
    synchronize();
    return copy;
  }

  /**
   * The address of at least so many bytes, for one call of a kernel on the default stream.
   * Grow-only: the sizes of a model's layers repeat with every batch.
   */
  long workspace(long bytes) {
    if (bytes > workspaceBytes) {
      // Freeing waits for the device, so that no kernel still uses the old one.
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

  /** A stream for what kernels may do beside their work on the default stream. */
  long sideStream() {
    if (sideStream == 0) {
      sideStream = cuda.createStream();
    }
    return sideStream;
  }

  /** New memory on the device; nothing is allocated yet. */
  KernelMemory memory() {
    return new DeviceMemory();
  }

  /** Memory of the device, in order with the work on the default stream. */
  private final class DeviceMemory implements KernelMemory {
    private final List<Long> allocated = new ArrayList<>();

    @Override
    @SuppressWarnings("restricted")
    public MemorySegment allocate(long bytes) {
      makeCurrent();
      long address = cuda.malloc(Math.max(bytes, 1));
      allocated.add(address);
      cuda.clear(address, bytes, DEFAULT_STREAM);
      return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    @Override
    public void clear(MemorySegment segment) {
      makeCurrent();
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
      makeCurrent();
      cuda.copy(to.address(), from.address(), from.byteSize(), DEFAULT_STREAM);
      synchronize();
    }

    @Override
    public boolean isHost() {
      return false;
    }

    @Override
    public void close() {
      makeCurrent();
      allocated.forEach(cuda::free);
      allocated.clear();
    }
  }

  @Override
  public void close() {
    makeCurrent();
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
