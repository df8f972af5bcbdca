package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The provider that some options lead to, and why a better one is off.
 *
 * @param cuda where the GPU does what it can, and the provider the rest
 */
record ProviderChoice(KernelProvider provider, @Nullable CudaKernels cuda, List<String> notes) {
  private static final System.Logger LOGGER = System.getLogger(ProviderChoice.class.getName());
  private static final List<String> PROVIDERS = List.of("auto", "scalar", "cpu", "cuda");
  private static final List<String> REQUIRABLE = List.of("cpu", "cuda");

  static ProviderChoice of(KernelOptions options) {
    requireKnown(KernelOptions.PROVIDER, options.provider(), PROVIDERS);
    options.require().ifPresent(name -> requireKnown(KernelOptions.REQUIRE, name, REQUIRABLE));
    boolean gpuIsRequired = options.require().equals(Optional.of("cuda"));
    if (options.provider().equals("cuda") || (gpuIsRequired && options.provider().equals("auto"))) {
      return cuda(options);
    }
    ProviderChoice choice = withoutGpu(options);
    requireProvider(options.require(), choice);
    if (options.provider().equals("auto") && NativeBindings.FAILURE != null) {
      LOGGER.log(
          System.Logger.Level.WARNING,
          "kernels run in plain Java, many times slower: {0}",
          whyNotNative());
    }
    return choice;
  }

  /** On a GPU, or the best other provider and a warning. */
  private static ProviderChoice cuda(KernelOptions options) {
    ProviderChoice rest = withoutGpu(options.withProvider("auto"));
    if (options.require().equals(Optional.of("cpu"))) {
      requireProvider(Optional.of("cuda"), rest);
    }
    try {
      return new ProviderChoice(rest.provider(), CudaKernels.open(options), rest.notes());
    } catch (IllegalStateException e) {
      if (options.require().equals(Optional.of("cuda"))) {
        throw new IllegalStateException(
            "%s=cuda: %s".formatted(KernelOptions.REQUIRE, e.getMessage()), e);
      }
      LOGGER.log(
          System.Logger.Level.WARNING,
          "no GPU is used, kernels run on the {0} provider: {1}",
          rest.provider().name(),
          e.getMessage());
      List<String> notes = new ArrayList<>();
      notes.add("cuda: " + e.getMessage());
      notes.addAll(rest.notes());
      return new ProviderChoice(rest.provider(), null, List.copyOf(notes));
    }
  }

  private static ProviderChoice withoutGpu(KernelOptions options) {
    return switch (options.provider()) {
      case "scalar" -> scalar("cpu: -D%s=scalar turns it off".formatted(KernelOptions.PROVIDER));
      case "cpu" -> {
        if (NativeBindings.FAILURE != null) {
          throw new IllegalStateException(
              "%s=cpu: %s".formatted(KernelOptions.PROVIDER, whyNotNative()),
              NativeBindings.FAILURE);
        }
        yield cpu(options.maxIsa());
      }
      default ->
          NativeBindings.FAILURE == null ? cpu(options.maxIsa()) : scalar("cpu: " + whyNotNative());
    };
  }

  private static void requireKnown(String property, String value, List<String> known) {
    if (!known.contains(value)) {
      throw new IllegalArgumentException(
          "%s=%s is unknown; known: %s".formatted(property, value, String.join(", ", known)));
    }
  }

  private static void requireProvider(Optional<String> required, ProviderChoice choice) {
    if (required.isPresent() && !required.get().equals(choice.provider().name())) {
      throw new IllegalStateException(
          "%s=%s, but the provider is %s: %s"
              .formatted(
                  KernelOptions.REQUIRE,
                  required.get(),
                  choice.provider().name(),
                  String.join("; ", choice.notes())),
          NativeBindings.FAILURE);
    }
  }

  private static String whyNotNative() {
    Throwable failure = NativeBindings.FAILURE;
    return failure == null ? "" : "the native library did not load: " + failure.getMessage();
  }

  private static ProviderChoice scalar(String note) {
    return new ProviderChoice(new ScalarKernels(), null, List.of(note));
  }

  private static ProviderChoice cpu(String maxIsa) {
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
    return new ProviderChoice(kernels, null, List.copyOf(notes));
  }
}
