package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Objects;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The C functions of {@code fisher_kernels_cuda.h}, loaded when they are first asked for, so that a
 * machine without a GPU pays nothing. Device memory, host memory and streams are plain addresses.
 */
@SuppressWarnings("restricted")
final class CudaBindings {
  static final int ABI_VERSION = 3;

  private final SymbolLookup symbols = SymbolLookup.loaderLookup();
  private final MethodHandle lastError = handle("fmc_last_error", FunctionDescriptor.of(JAVA_LONG));
  private final MethodHandle deviceCount = status("fmc_device_count", JAVA_LONG);
  private final MethodHandle deviceInfo = status("fmc_device_info", JAVA_INT, JAVA_LONG);
  private final MethodHandle setDevice = status("fmc_set_device", JAVA_INT);
  private final MethodHandle malloc = status("fmc_malloc", JAVA_LONG, JAVA_LONG);
  private final MethodHandle free = status("fmc_free", JAVA_LONG);
  private final MethodHandle hostAlloc = status("fmc_host_alloc", JAVA_LONG, JAVA_LONG);
  private final MethodHandle hostFree = status("fmc_host_free", JAVA_LONG);
  private final MethodHandle copy =
      status("fmc_copy_async", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private final MethodHandle clear = status("fmc_clear_async", JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private final MethodHandle streamCreate = status("fmc_stream_create", JAVA_LONG);
  private final MethodHandle streamDestroy = status("fmc_stream_destroy", JAVA_LONG);
  private final MethodHandle synchronize = status("fmc_stream_synchronize", JAVA_LONG);
  private final MethodHandle weightedAverage =
      status(
          "fmc_weighted_average",
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_DOUBLE,
          JAVA_LONG,
          JAVA_INT,
          JAVA_LONG,
          JAVA_LONG);
  private final MethodHandle statisticsWorkspace =
      status("fmc_statistics_workspace", JAVA_LONG, JAVA_LONG);
  private final MethodHandle statistics =
      status(
          "fmc_statistics",
          JAVA_LONG,
          JAVA_INT,
          JAVA_LONG,
          JAVA_DOUBLE,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG);
  private final MethodHandle squareAccumulate =
      status("fmc_square_accumulate", JAVA_LONG, JAVA_DOUBLE, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private final MethodHandle squaredGradientsPrepare =
      status("fmc_squared_gradients_prepare", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG);
  private final MethodHandle squaredGradients =
      status(
          "fmc_squared_gradients",
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG);
  private final MethodHandle tokenSumWorkspace =
      status("fmc_token_sum_squares_workspace", JAVA_LONG, JAVA_LONG);
  private final MethodHandle layerNormWorkspace =
      status("fmc_layer_norm_squares_workspace", JAVA_LONG, JAVA_LONG);
  private final MethodHandle tokenSumSquares =
      status("fmc_token_sum_squares", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private final MethodHandle layerNormSquares =
      status(
          "fmc_layer_norm_squares",
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG);
  private final MethodHandle embeddingSquares =
      status("fmc_embedding_squares", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

  private final String library;

  private CudaBindings(String library) {
    this.library = library;
  }

  /** Loads the library once; a failure is kept and reported to every caller. */
  private static final class Loaded {
    static final @Nullable CudaBindings BINDINGS;
    static final @Nullable UnsatisfiedLinkError FAILURE;

    static {
      CudaBindings bindings = null;
      UnsatisfiedLinkError failure = null;
      try {
        bindings =
            new CudaBindings(
                NativeLibrary.load(
                    "fisher_kernels_cuda",
                    KernelOptions.CUDA_LIBRARY_PATH,
                    "it is in the artefact fisher-merge-kernels-cuda; ./fisher-merge builds it"
                        + " where CUDA's nvcc is on the PATH and FISHER_MERGE_CUDA=1 is set"));
        int abi = bindings.abi();
        if (abi != ABI_VERSION) {
          throw new UnsatisfiedLinkError(
              "%s has ABI version %d, this build needs %d: rebuild it, or remove -D%s"
                  .formatted(bindings.library, abi, ABI_VERSION, KernelOptions.CUDA_LIBRARY_PATH));
        }
      } catch (UnsatisfiedLinkError e) {
        failure = e;
      }
      BINDINGS = bindings;
      FAILURE = failure;
    }
  }

  /**
   * Loads the library once.
   *
   * @throws IllegalStateException if that is not possible; the message says why
   */
  static CudaBindings load() {
    if (Loaded.FAILURE != null) {
      throw new IllegalStateException(Loaded.FAILURE.getMessage(), Loaded.FAILURE);
    }
    return Objects.requireNonNull(Loaded.BINDINGS);
  }

  private int abi() {
    try {
      return (int) handle("fmc_abi_version", FunctionDescriptor.of(JAVA_INT)).invokeExact();
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  String library() {
    return library;
  }

  // ---- devices ----

  /** What a device is. */
  record Device(String name, long memoryBytes, long freeBytes, int major, int minor) {}

  /**
   * A device that can run the kernels.
   *
   * @throws IllegalStateException if there is none; the message says why
   */
  Device device(int index) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(JAVA_INT);
      MemorySegment info = arena.allocate(NativeStructs.CUDA_DEVICE);
      int status = (int) deviceCount.invokeExact(count.address());
      if (status == 0) {
        status = (int) deviceInfo.invokeExact(index, info.address());
      }
      if (status != 0) {
        throw new IllegalStateException(reason());
      }
      return new Device(
          info.getString(NativeStructs.DEVICE_NAME),
          info.get(JAVA_LONG, NativeStructs.DEVICE_MEMORY_BYTES),
          info.get(JAVA_LONG, NativeStructs.DEVICE_FREE_BYTES),
          info.get(JAVA_INT, NativeStructs.DEVICE_MAJOR),
          info.get(JAVA_INT, NativeStructs.DEVICE_MINOR));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void setDevice(int index) {
    try {
      check((int) setDevice.invokeExact(index));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  // ---- memory and streams ----

  long malloc(long bytes) {
    return created(malloc, bytes);
  }

  /** Empty where the device has too little memory. */
  OptionalLong tryMalloc(long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(JAVA_LONG);
      int status = (int) malloc.invokeExact(bytes, address.address());
      if (status == NativeStructs.OUT_OF_MEMORY) {
        return OptionalLong.empty();
      }
      check(status);
      return OptionalLong.of(address.get(JAVA_LONG, 0));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void free(long address) {
    try {
      check((int) free.invokeExact(address));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  /** Page-locked host memory, which the device copies from and to at full speed. */
  MemorySegment hostAlloc(long bytes) {
    return MemorySegment.ofAddress(created(hostAlloc, bytes)).reinterpret(bytes);
  }

  void hostFree(MemorySegment memory) {
    try {
      check((int) hostFree.invokeExact(memory.address()));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  private long created(MethodHandle allocate, long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(JAVA_LONG);
      check((int) allocate.invokeExact(bytes, address.address()));
      return address.get(JAVA_LONG, 0);
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void copy(long to, long from, long bytes, long stream) {
    try {
      check((int) copy.invokeExact(to, from, bytes, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void clear(long to, long bytes, long stream) {
    try {
      check((int) clear.invokeExact(to, bytes, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  long createStream() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment stream = arena.allocate(JAVA_LONG);
      check((int) streamCreate.invokeExact(stream.address()));
      return stream.get(JAVA_LONG, 0);
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void destroyStream(long stream) {
    try {
      check((int) streamDestroy.invokeExact(stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void synchronize(long stream) {
    try {
      check((int) synchronize.invokeExact(stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  // ---- kernels; structs lie in host memory ----

  void weightedAverage(
      long inputs,
      long inputCount,
      long base,
      double scalingFactor,
      long out,
      int type,
      long count,
      long stream) {
    try {
      check(
          (int)
              weightedAverage.invokeExact(
                  inputs, inputCount, base, scalingFactor, out, type, count, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  long statisticsWorkspace(long count) {
    return size(statisticsWorkspace, count);
  }

  void statistics(
      long x, int type, long count, double threshold, long workspace, long result, long stream) {
    try {
      check((int) statistics.invokeExact(x, type, count, threshold, workspace, result, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void addSquares(long gradient, double scale, long fisher, long count, long stream) {
    try {
      check((int) squareAccumulate.invokeExact(gradient, scale, fisher, count, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  /** Fills an {@code fmc_squared_gradients_plan}. */
  void planSquaredGradients(long g, long a, int precision, long plan) {
    try {
      check((int) squaredGradientsPrepare.invokeExact(g, a, precision, 0, plan));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void addSquaredGradients(
      long g, long a, long plan, long workspace, long fisher, long stream, long sideStream) {
    try {
      check((int) squaredGradients.invokeExact(g, a, plan, workspace, fisher, stream, sideStream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  long tokenSumWorkspace(long g) {
    return size(tokenSumWorkspace, g);
  }

  void addTokenSumSquares(long g, long workspace, long fisher, long stream) {
    try {
      check((int) tokenSumSquares.invokeExact(g, workspace, fisher, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  long layerNormWorkspace(long g) {
    return size(layerNormWorkspace, g);
  }

  void addLayerNormSquares(
      long g, long x, long mean, long rstd, long workspace, long scale, long shift, long stream) {
    try {
      check((int) layerNormSquares.invokeExact(g, x, mean, rstd, workspace, scale, shift, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  void addEmbeddingSquares(long g, long ids, long rows, long fisher, long stream) {
    try {
      check((int) embeddingSquares.invokeExact(g, ids, rows, fisher, stream));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  private long size(MethodHandle function, long argument) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(JAVA_LONG);
      check((int) function.invokeExact(argument, bytes.address()));
      return bytes.get(JAVA_LONG, 0);
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  /** Turns a status into an exception. Must run on the thread that made the call. */
  private void check(int status) {
    if (status == 0) {
      return;
    }
    String reason = reason();
    if (status == NativeStructs.INVALID_ARGUMENT) {
      throw new IllegalArgumentException(reason);
    }
    throw new IllegalStateException(
        status == NativeStructs.OUT_OF_MEMORY
            ? "GPU: " + reason + "; take smaller batches, or --device cpu"
            : "GPU: " + reason);
  }

  private String reason() {
    try {
      return NativeBindings.text((long) lastError.invokeExact());
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  private MethodHandle status(String name, ValueLayout... arguments) {
    return handle(name, FunctionDescriptor.of(JAVA_INT, arguments));
  }

  private MethodHandle handle(String name, FunctionDescriptor descriptor) {
    MemorySegment symbol =
        symbols
            .find(name)
            .orElseThrow(() -> new UnsatisfiedLinkError("the CUDA library lacks " + name));
    return Linker.nativeLinker().downcallHandle(symbol, descriptor);
  }
}
