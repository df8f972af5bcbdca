package org.fishermerge.torch;

import java.io.IOException;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** The libtorch that this process runs on. */
public final class LibTorch {
  /** Where tensors are made, of the whole process: null is the CPU. */
  private static volatile @Nullable Device gpu;

  private LibTorch() {}

  /** Whether this build's libtorch has CUDA and finds a GPU. */
  public static boolean hasCuda() {
    return torch.cuda_is_available();
  }

  /**
   * From now on models are loaded into a GPU's memory and run there, in the whole process. Kernels
   * that are to work on them must be of the cuda provider and of the same GPU.
   *
   * @throws IllegalStateException if libtorch has no CUDA or finds no GPU
   */
  public static synchronized void useGpu(int index) {
    if (!hasCuda()) {
      throw new IllegalStateException(
          "this libtorch has no CUDA, or finds no GPU: build with -Pcuda, or take --device cpu");
    }
    gpu = new Device("cuda:" + index);
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
    GradMode.set_enabled(false);
  }

  /** Threads that libtorch's operators use. */
  public static int threads() {
    return torch.get_num_threads();
  }

  /** Sets the threads of libtorch's operators. */
  public static void setThreads(int threads) {
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
    return version + (hasCuda() ? ", CUDA, " : ", CPU, ") + threads() + " threads";
  }
}
