package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;

/** Opens the engine that some options lead to. */
final class EngineChoice {
  private static final System.Logger LOGGER = System.getLogger(EngineChoice.class.getName());

  private EngineChoice() {}

  /** A provider of the CPU engine, and why a better provider or instruction set is off. */
  private record CpuChoice(KernelProvider kernels, List<String> notes) {
    Engine open(KernelOptions options) {
      return new CpuEngine(kernels, options.threads(), notes);
    }
  }

  /** As {@link Kernels#open(KernelOptions)} says. */
  static Engine open(KernelOptions options) {
    Provider provider =
        Provider.parse(KernelOptions.PROVIDER, options.provider(), EnumSet.allOf(Provider.class));
    Optional<Provider> required =
        options
            .require()
            .map(name ->
                Provider.parse(
                    KernelOptions.REQUIRE, name, EnumSet.of(Provider.CPU, Provider.CUDA)));
    boolean gpuIsRequired = required.equals(Optional.of(Provider.CUDA));
    if (provider == Provider.CUDA || (gpuIsRequired && provider == Provider.AUTO)) {
      return openCuda(options, required);
    }
    CpuChoice choice = cpuChoice(provider, options.maxIsa());
    if (required.isPresent() && required.get() != choice.kernels().provider()) {
      throw notTheRequired(required.get(), choice);
    }
    if (provider == Provider.AUTO && NativeBindings.FAILURE != null) {
      LOGGER.log(
          System.Logger.Level.WARNING,
          "kernels run in plain Java, many times slower: {0}",
          whyNotNative());
    }
    return choice.open(options);
  }

  /** An engine on a GPU; if that fails, the best CPU engine with a note that says why. */
  private static Engine openCuda(KernelOptions options, Optional<Provider> required) {
    CpuChoice fallback = cpuChoice(Provider.AUTO, options.maxIsa());
    if (required.equals(Optional.of(Provider.CPU))) {
      throw new IllegalStateException(
          "%s=cpu, but %s=cuda asks for a GPU: leave one of the two out"
              .formatted(KernelOptions.REQUIRE, KernelOptions.PROVIDER));
    }
    CudaDevice device;
    try {
      device = CudaDevice.open(options);
    } catch (IllegalStateException e) {
      if (required.isPresent()) {
        throw new IllegalStateException(
            "%s=cuda: %s".formatted(KernelOptions.REQUIRE, e.getMessage()), e);
      }
      LOGGER.log(
          System.Logger.Level.WARNING,
          "no GPU is used, kernels run on the {0} provider: {1}",
          fallback.kernels().provider().text(),
          e.getMessage());
      List<String> notes = new ArrayList<>();
      notes.add("cuda: " + e.getMessage());
      notes.addAll(fallback.notes());
      return new CpuChoice(fallback.kernels(), List.copyOf(notes)).open(options);
    }
    return new CudaEngine(
        device, new CpuEngine(fallback.kernels(), options.threads(), fallback.notes()));
  }

  private static CpuChoice cpuChoice(Provider provider, String maxIsa) {
    return switch (provider) {
      case SCALAR -> scalar("cpu: -D%s=scalar turns it off".formatted(KernelOptions.PROVIDER));
      case CPU -> {
        if (NativeBindings.FAILURE != null) {
          throw new IllegalStateException(
              "%s=cpu: %s".formatted(KernelOptions.PROVIDER, whyNotNative()),
              NativeBindings.FAILURE);
        }
        yield cpu(maxIsa);
      }
      case AUTO, CUDA ->
          NativeBindings.FAILURE == null ? cpu(maxIsa) : scalar("cpu: " + whyNotNative());
    };
  }

  private static IllegalStateException notTheRequired(Provider required, CpuChoice choice) {
    return new IllegalStateException(
        "%s=%s, but the provider is %s: %s"
            .formatted(
                KernelOptions.REQUIRE,
                required.text(),
                choice.kernels().provider().text(),
                String.join("; ", choice.notes())),
        NativeBindings.FAILURE);
  }

  private static String whyNotNative() {
    Throwable failure = NativeBindings.FAILURE;
    return failure == null ? "" : "the native library did not load: " + failure.getMessage();
  }

  private static CpuChoice scalar(String note) {
    return new CpuChoice(new ScalarKernels(), List.of(note));
  }

  private static CpuChoice cpu(String maxIsa) {
    CpuKernels kernels;
    try {
      kernels = new CpuKernels(maxIsa);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "%s: %s".formatted(KernelOptions.MAX_ISA, e.getMessage()), e);
    }
    List<String> notes = new ArrayList<>();
    boolean above = false;
    boolean limited = false;
    for (String isa : NativeBindings.isaList()) {
      if (above) {
        notes.add(
            limited
                ? "%s: -D%s=%s excludes it".formatted(isa, KernelOptions.MAX_ISA, maxIsa)
                : "%s: this machine or its operating system does not support it".formatted(isa));
      }
      above |= isa.equals(kernels.isa());
      limited |= isa.equals(maxIsa);
    }
    return new CpuChoice(kernels, List.copyOf(notes));
  }
}
