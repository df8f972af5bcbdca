package org.fishermerge.torch.runtime;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.NoTF32Guard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/** The libtorch that this process runs on. */
public final class LibTorch {
  /**
   * The CUDA libraries that a libtorch built with CUDA uses. Without the first two it cannot be
   * loaded.
   */
  private static final List<String> CUDA_LIBRARIES =
      List.of(
          "libcudart.so.13",
          "libcupti.so.13",
          "libcublas.so.13",
          "libcublasLt.so.13",
          "libcudnn.so.9",
          "libcufft.so.12",
          "libcufile.so.0",
          "libcurand.so.10",
          "libcusolver.so.12",
          "libcusparse.so.12",
          "libnccl.so.2");

  private static final String MEMORY_LIMIT = "org.bytedeco.javacpp.maxphysicalbytes";

  private static volatile boolean loaded;

  static {
    // JavaCPP reads it when it is loaded. Its limit, of twice the heap, counts files that are
    // mapped as memory.
    if (System.getProperty(MEMORY_LIMIT) == null) {
      System.setProperty(MEMORY_LIMIT, "0");
    }
  }

  /**
   * The device of all threads that have none of their own ({@link #GPU_OF_THREAD}); null for the
   * CPU.
   */
  private static volatile @Nullable Device gpu;

  /** The device of one thread, in place of {@link #gpu}. */
  private static final ScopedValue<Device> GPU_OF_THREAD = ScopedValue.newInstance();

  private static volatile Precision precision = Precision.FP32;

  private LibTorch() {}

  /** Whether this build's libtorch has CUDA and finds a GPU. */
  public static boolean hasCuda() {
    load();
    return torch.cuda_is_available();
  }

  /** Why {@link #hasCuda} answers no, in one sentence. */
  public static String whyNoCuda() {
    if (!builtWithCuda()) {
      return "this build's libtorch has no CUDA; build with -Pcuda, see CONTRIBUTING.md";
    }
    List<String> missing = missing(CUDA_LIBRARIES);
    return missing.isEmpty() ? "libtorch finds no GPU" : "libtorch " + doesNotFind(missing);
  }

  private static boolean builtWithCuda() {
    String natives = "/org/bytedeco/pytorch/%s-gpu/libjnitorch.so".formatted(Loader.getPlatform());
    return LibTorch.class.getResource(natives) != null;
  }

  private static String doesNotFind(List<String> missing) {
    return "does not find "
        + String.join(", ", missing)
        + ": install NVIDIA's CUDA 13, cuDNN 9 and NCCL 2, or put them on LD_LIBRARY_PATH (-Pcuda"
        + " in CONTRIBUTING.md says how)";
  }

  /** The libraries, by file name, that the system cannot load. */
  @SuppressWarnings("restricted")
  public static List<String> missing(List<String> libraries) {
    return libraries.stream()
        .filter(library -> {
          try (Arena arena = Arena.ofConfined()) {
            SymbolLookup.libraryLookup(library, arena);
            return false;
          } catch (IllegalArgumentException e) {
            return true;
          }
        })
        .toList();
  }

  /**
   * Loads libtorch. If a library is missing, that is an {@link InputException}: the user can
   * install it.
   */
  private static void load() {
    if (loaded) {
      return;
    }
    try {
      Loader.load(torch.class);
      loaded = true;
    } catch (IllegalCallerException e) {
      throw noNativeAccess(e);
    } catch (LinkageError e) {
      if (isDenied(e)) {
        throw noNativeAccess(e);
      }
      List<String> missing = builtWithCuda() ? missing(CUDA_LIBRARIES) : List.of();
      throw new InputException(
          missing.isEmpty()
              ? "libtorch cannot be loaded: " + Reasons.of(e)
              : "libtorch, built with CUDA, cannot be loaded: it " + doesNotFind(missing),
          e);
    }
  }

  /** JavaCPP loads libtorch, so that it is JavaCPP's module that needs access. */
  private static boolean isDenied(Throwable failure) {
    return failure instanceof IllegalCallerException
        || (failure.getCause() != null && isDenied(failure.getCause()));
  }

  private static InputException noNativeAccess(Throwable e) {
    Module module = Loader.class.getModule();
    return new InputException(
        "libtorch cannot be loaded: native access is denied to it; start Java with"
            + " --enable-native-access="
            + (module.isNamed() ? module.getName() : "ALL-UNNAMED"),
        e);
  }

  /**
   * From now on models are loaded into a GPU's memory and run there, by all threads that {@link
   * #onGpu} does not send elsewhere. Kernels that are to work on them must be of the cuda provider
   * and of the same GPU.
   *
   * @throws IllegalStateException if libtorch has no CUDA or finds no GPU
   */
  public static synchronized void useGpu(int index) {
    gpu = gpu(index);
  }

  /**
   * Runs work whose models are loaded and run on that GPU, on this thread. Several threads may do
   * so at once, on one GPU or on several; a model is used by the thread that loaded it.
   *
   * @throws IllegalStateException as {@link #useGpu} does
   */
  public static void onGpu(int index, Runnable work) {
    onDevice(gpu(index), work);
  }

  /** Whether what is made by this thread now lies in a GPU's memory. */
  static boolean isOnGpu() {
    return device() != null;
  }

  public static void onDevice(Device device, Runnable work) {
    ScopedValue.where(GPU_OF_THREAD, device).run(work);
  }

  private static Device gpu(int index) {
    if (!hasCuda()) {
      throw new IllegalStateException(whyNoCuda());
    }
    return new Device("cuda:" + index);
  }

  private static @Nullable Device device() {
    return GPU_OF_THREAD.isBound() ? GPU_OF_THREAD.get() : gpu;
  }

  /**
   * Sets the precision of linear layers and attention for the whole process. Models that are
   * already loaded keep the type of their weights.
   *
   * @throws IllegalStateException if the precision exists on GPUs only and models run on the CPU
   */
  public static synchronized void usePrecision(Precision wanted) {
    if (wanted == Precision.TF32 && gpu == null) {
      throw new IllegalStateException("tf32 is a format of GPUs; take bf16, or --device cuda");
    }
    if (wanted != precision) {
      load();
      precision = wanted;
      // Has no effect on the CPU.
      torch.globalContext().setAllowTF32CuBLAS(wanted != Precision.FP32);
    }
  }

  /** Computes in full fp32 whatever precision is set, without a change for other threads. */
  public static <T> T exactly(Supplier<T> body) {
    NoTF32Guard guard = new NoTF32Guard(); // applies to this thread only
    try {
      return body.get();
    } finally {
      guard.deallocate(); // close() would put it off until the enclosing scope ends
    }
  }

  /** The dtype in which the weights of linear layers are stored and multiplied. */
  public static torch.ScalarType productType() {
    return precision == Precision.BF16 ? torch.ScalarType.BFloat16 : torch.ScalarType.Float;
  }

  /**
   * A new fp32 tensor in the process's memory, to be filled and given to {@link #onDevice(Tensor)}.
   * If the device is a GPU it is page-locked, so that the copy runs at the full speed of the bus.
   */
  public static Tensor toBeFilled(long... shape) {
    Device device = device();
    return device != null && device.is_cuda()
        ? torch.empty(
            shape,
            new TensorOptions().pinned_memory(new BoolOptional(true)),
            new MemoryFormatOptional())
        : torch.empty(shape);
  }

  /**
   * A copy on the current device, which on a GPU is made asynchronously; on the CPU the tensor
   * itself.
   */
  public static Tensor onDevice(Tensor tensor) {
    Device device = device();
    return device == null
        ? tensor
        : tensor.to(device, tensor.scalar_type(), true, false, new MemoryFormatOptional());
  }

  /** Waits for all work queued on this thread's GPU; returns at once on the CPU. */
  public static void synchronize() {
    if (device() != null) {
      torch.cuda_synchronize();
    }
  }

  /** Returns memory that no tensor uses to the system, as far as the allocator can. */
  public static void releaseMemory() {
    if (device() == null) {
      NativeHeap.release();
    } else {
      torch.emptyCache();
    }
  }

  /**
   * Loads libtorch and readies the calling thread: gradients are never recorded, because the Fisher
   * pass writes its own backward. The mode is thread-local, so each entry point calls this.
   */
  public static void initialize() {
    load();
    GradMode.set_enabled(false);
  }

  /** Threads that libtorch's operators use. */
  public static int threads() {
    load();
    return torch.get_num_threads();
  }

  /** Sets the threads of libtorch's operators. */
  public static void setThreads(int threads) {
    load();
    torch.set_num_threads(threads);
  }

  /** One line for people: version and threads. Loads libtorch. */
  public static String describe() {
    initialize();
    String version;
    try {
      version = Loader.getVersion("org.bytedeco", "pytorch");
    } catch (IOException e) {
      version = "of unknown version";
    }
    return version
        + (hasCuda() ? ", CUDA, " : builtWithCuda() ? ", CUDA without a GPU, " : ", CPU, ")
        + threads()
        + " threads";
  }
}
