package org.fishermerge.torch;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/** The libtorch that this process runs on. */
public final class LibTorch {
  /** What a libtorch with CUDA needs of CUDA: the first two to be loaded at all. */
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

  private static volatile boolean loaded;

  /** Where tensors are made, of the whole process: null is the CPU. */
  private static volatile @Nullable Device gpu;

  private static volatile Precision precision = Precision.FP32;

  private LibTorch() {}

  /** Whether this build's libtorch has CUDA and finds a GPU. */
  public static boolean hasCuda() {
    load();
    return torch.cuda_is_available();
  }

  /** Where there is no CUDA, why. */
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

  /** Those of some libraries that cannot be loaded. */
  @SuppressWarnings("restricted")
  static List<String> missing(List<String> libraries) {
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

  /** Loads it. What it lacks is the user's to mend, not a defect. */
  private static void load() {
    if (loaded) {
      return;
    }
    try {
      Loader.load(torch.class);
      loaded = true;
    } catch (LinkageError e) {
      List<String> missing = builtWithCuda() ? missing(CUDA_LIBRARIES) : List.of();
      throw new InputException(
          missing.isEmpty()
              ? "libtorch cannot be loaded: " + e.getMessage()
              : "libtorch, built with CUDA, cannot be loaded: it " + doesNotFind(missing),
          e);
    }
  }

  /**
   * From now on models are loaded into a GPU's memory and run there, in the whole process. Kernels
   * that are to work on them must be of the cuda provider and of the same GPU.
   *
   * @throws IllegalStateException if libtorch has no CUDA or finds no GPU
   */
  public static synchronized void useGpu(int index) {
    if (!hasCuda()) {
      throw new IllegalStateException(whyNoCuda());
    }
    gpu = new Device("cuda:" + index);
  }

  /**
   * From now on towers multiply in this precision, in the whole process. Models that are loaded
   * already keep the type of their weights.
   *
   * @throws IllegalStateException if it is of GPUs and models run on the CPU
   */
  public static synchronized void usePrecision(Precision wanted) {
    if (wanted == Precision.TF32 && gpu == null) {
      throw new IllegalStateException("tf32 is a format of GPUs; take bf16, or --device cuda");
    }
    if (wanted != precision) {
      load();
      precision = wanted;
      allowTf32(wanted != Precision.FP32);
    }
  }

  private static void allowTf32(boolean allowed) {
    // Of no effect on the CPU.
    torch.globalContext().setAllowTF32CuBLAS(allowed);
  }

  /** Runs what must be exact whatever the precision. */
  static <T> T exactly(Supplier<T> body) {
    if (precision == Precision.FP32) {
      return body.get();
    }
    allowTf32(false);
    try {
      return body.get();
    } finally {
      allowTf32(true);
    }
  }

  /** The type that the weights of towers are kept and multiplied in. */
  static torch.ScalarType productType() {
    return precision == Precision.BF16 ? torch.ScalarType.BFloat16 : torch.ScalarType.Float;
  }

  /** The tensor, or its copy in the memory where models are. */
  static Tensor onDevice(Tensor tensor) {
    Device device = gpu;
    return device == null ? tensor : tensor.to(device, tensor.scalar_type());
  }

  /**
   * Loads libtorch and readies the calling thread: gradients are never recorded, because the Fisher
   * pass writes its own backward. The mode is thread-local, so each entry point calls this.
   */
  static void initialize() {
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
