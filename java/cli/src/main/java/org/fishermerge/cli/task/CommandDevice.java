package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.LibTorch;
import org.jspecify.annotations.Nullable;

/**
 * Where a command computes. A GPU that was asked for and is not there is a warning, and the CPU
 * does the work, unless {@code fishermerge.require} says otherwise.
 */
public final class CommandDevice {
  private static final String CUDA = "cuda";

  private final KernelOptions options;

  private CommandDevice(KernelOptions options) {
    this.options = options;
  }

  /**
   * For kernels alone, whose operands are in the process's memory.
   *
   * @param device {@code cpu}, {@code cuda}, or null for what the system properties say
   */
  public static CommandDevice forMerging(@Nullable String device) {
    KernelOptions options = properties();
    return new CommandDevice(
        switch (device) {
          case null -> options;
          case "cpu" -> options.provider().equals(CUDA) ? options.withProvider("auto") : options;
          case CUDA -> options.withProvider(CUDA);
          default -> throw unknown(device);
        });
  }

  /**
   * For models and kernels together: models that are loaded from now on run on the same device.
   *
   * @param device as above
   * @param err told where the GPU is not used, and why
   */
  public static CommandDevice forModels(@Nullable String device, PrintWriter err) {
    CommandDevice chosen = forMerging(device);
    KernelOptions options = chosen.options;
    if (!options.provider().equals(CUDA)) {
      return chosen;
    }
    if (LibTorch.hasCuda()) {
      LibTorch.useGpu(Integer.getInteger(KernelOptions.CUDA_DEVICE, 0));
      return new CommandDevice(options.withRequire(Optional.of(CUDA)));
    }
    String reason =
        "this libtorch cannot run models on a GPU (none is found, or it was built without CUDA: see"
            + " -Pcuda in CONTRIBUTING.md); the GPU here: "
            + Kernels.describeGpu();
    if (options.require().equals(Optional.of(CUDA))) {
      throw new InputException("%s=%s: %s".formatted(KernelOptions.REQUIRE, CUDA, reason));
    }
    err.println("warning: models run on the CPU: " + reason);
    return new CommandDevice(options.withProvider("auto"));
  }

  private static InputException unknown(String device) {
    return new InputException("--device %s: must be cpu or cuda".formatted(device));
  }

  private static KernelOptions properties() {
    try {
      return KernelOptions.fromSystemProperties();
    } catch (IllegalArgumentException e) {
      throw new InputException(String.valueOf(e.getMessage()), e);
    }
  }

  /** A setting that cannot be met is the user's to mend, not a defect. */
  public Kernels open() {
    try {
      return Kernels.open(options);
    } catch (IllegalArgumentException | IllegalStateException e) {
      throw new InputException(String.valueOf(e.getMessage()), e);
    }
  }
}
