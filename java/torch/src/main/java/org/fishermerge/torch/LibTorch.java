package org.fishermerge.torch;

import java.io.IOException;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.global.torch;

/** The libtorch that this process runs on. */
public final class LibTorch {
  private LibTorch() {}

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
    return version + ", CPU, " + threads() + " threads";
  }
}
