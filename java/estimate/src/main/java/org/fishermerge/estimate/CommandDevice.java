package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/**
 * Where a command computes. A GPU that was asked for and is not there is a warning, and the CPU
 * does the work, unless {@code fishermerge.require} says otherwise.
 */
public final class CommandDevice {
  private static final String CUDA = "cuda";

  private final KernelOptions options;
  private final Precision precision;
  private final boolean gpu;

  /**
   * @param gpu whether models run on the GPU of the options
   */
  private CommandDevice(KernelOptions options, Precision precision, boolean gpu) {
    this.options = options;
    this.precision = precision;
    this.gpu = gpu;
  }

  /**
   * For kernels alone, whose operands are in the process's memory.
   *
   * @param device {@code cpu}; {@code cuda}, the GPU with the most free memory; {@code cuda:N}; or
   *     null for what the system properties say
   */
  public static CommandDevice forMerging(@Nullable String device) {
    return new CommandDevice(kernels(device), Precision.FP32, false);
  }

  private static KernelOptions kernels(@Nullable String device) {
    KernelOptions options = properties();
    return switch (device) {
      case null -> options;
      case "cpu" -> options.asksForGpu() ? options.withProvider("auto") : options;
      case CUDA -> options.withProvider(CUDA).withGpu(emptiest(options));
      default -> options.withProvider(CUDA).withGpu(numbered(device));
    };
  }

  /** A number that was set counts; where the driver lists no GPU, the kernels say what is wrong. */
  private static int emptiest(KernelOptions options) {
    return System.getProperty(KernelOptions.CUDA_DEVICE, "").isEmpty()
        ? Gpus.find().best().map(Gpus.Gpu::index).orElse(options.gpu())
        : options.gpu();
  }

  private static int numbered(String device) {
    if (!device.matches("cuda:\\d{1,4}")) {
      throw new InputException("--device %s: must be cpu, cuda or cuda:N".formatted(device));
    }
    int number = Integer.parseInt(device.substring(CUDA.length() + 1));
    List<Gpus.Gpu> gpus = Gpus.find().all();
    if (!gpus.isEmpty() && number >= gpus.size()) {
      throw new InputException(
          "--device %s: there is no such GPU; there are %s"
              .formatted(
                  device, gpus.stream().map(Gpus.Gpu::toString).collect(Collectors.joining("; "))));
    }
    return number;
  }

  /** For models and kernels together, in fp32. */
  public static CommandDevice forModels(@Nullable String device, Consumer<String> warnings) {
    return forModels(device, Precision.FP32, warnings);
  }

  /**
   * For models and kernels together: models that are loaded from now on run on the same device, in
   * this precision. The kernels take it too, unless a system property sets theirs.
   *
   * @param device as above
   * @param warnings told where the GPU is not used, and why
   */
  public static CommandDevice forModels(
      @Nullable String device, Precision precision, Consumer<String> warnings) {
    KernelOptions options = kernels(device);
    if (!options.asksForGpu()) {
      if (precision == Precision.TF32) {
        throw new InputException(
            "precision tf32 is of GPUs; take bf16 or fp32, or --device cuda"
                + " (fabric.accelerator=cuda)");
      }
      return using(options, precision, false);
    }
    KernelOptions required = options.withRequire(Optional.of(CUDA));
    String reason = LibTorch.hasCuda() ? whyNoKernels(required) : LibTorch.whyNoCuda();
    if (reason.isEmpty()) {
      LibTorch.useGpu(options.gpu());
      return using(
          System.getProperty(KernelOptions.CUDA_PRECISION, "").isEmpty()
              ? required.withGpuPrecision(precision.text())
              : required,
          precision,
          true);
    }
    reason += Gpus.find().reason().map(why -> "; " + why).orElse("");
    if (options.requiresGpu()) {
      throw new InputException("%s=%s: %s".formatted(KernelOptions.REQUIRE, CUDA, reason));
    }
    Precision onCpu = precision == Precision.TF32 ? Precision.FP32 : precision;
    warnings.accept("models run on the CPU, in %s: %s".formatted(onCpu.text(), reason));
    return using(options.withProvider("auto"), onCpu, false);
  }

  private static CommandDevice using(KernelOptions options, Precision precision, boolean gpu) {
    LibTorch.usePrecision(precision);
    return new CommandDevice(options, precision, gpu);
  }

  /** What models are multiplied in. */
  public Precision precision() {
    return precision;
  }

  /** Whether models run on a GPU. */
  public boolean isGpu() {
    return gpu;
  }

  /** Runs something whose models are loaded and run here. */
  void run(Runnable work) {
    if (gpu) {
      LibTorch.onGpu(options.gpu(), work);
    } else {
      work.run();
    }
  }

  /**
   * This device and other GPUs, those with the most free memory first.
   *
   * @param count of GPUs in all; empty for all there are
   * @throws InputException if there are fewer, or one of them cannot run the kernels
   */
  public List<CommandDevice> withOthers(OptionalInt count) {
    List<CommandDevice> devices = new ArrayList<>(List.of(this));
    if (gpu) {
      List<Integer> numbers = Gpus.find().byFreeMemory().stream().map(Gpus.Gpu::index).toList();
      for (int number : others(numbers, options.gpu(), count)) {
        KernelOptions there = options.withGpu(number);
        String reason = whyNoKernels(there);
        if (!reason.isEmpty()) {
          throw new InputException("GPU %d: %s".formatted(number, reason));
        }
        devices.add(new CommandDevice(there, precision, true));
      }
    }
    return List.copyOf(devices);
  }

  /** Numbers of GPUs that join {@code own}, the first ones that there are. */
  static List<Integer> others(List<Integer> numbers, int own, OptionalInt count) {
    List<Integer> others = numbers.stream().filter(number -> number != own).toList();
    int wanted = count.orElse(others.size() + 1) - 1;
    if (wanted > others.size()) {
      throw new InputException(
          "%1$d GPUs are asked for, and %2$d can be used: give fabric.devices=%2$d or auto"
              .formatted(wanted + 1, others.size() + 1));
    }
    return others.subList(0, wanted);
  }

  private static String whyNoKernels(KernelOptions options) {
    try {
      Kernels.open(options).close();
      return "";
    } catch (IllegalStateException e) {
      return String.valueOf(e.getMessage());
    }
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
