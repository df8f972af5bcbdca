package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The provider that some options lead to, and why a better one is off. */
record ProviderChoice(KernelProvider provider, List<String> notes) {
  private static final System.Logger LOGGER = System.getLogger(ProviderChoice.class.getName());
  private static final List<String> PROVIDERS = List.of("auto", "scalar", "cpu", "cuda");
  private static final List<String> REQUIRABLE = List.of("cpu", "cuda");
  private static final String NO_CUDA = "cuda: this build has no CUDA provider";

  static ProviderChoice of(KernelOptions options) {
    requireKnown(KernelOptions.PROVIDER, options.provider(), PROVIDERS);
    options.require().ifPresent(name -> requireKnown(KernelOptions.REQUIRE, name, REQUIRABLE));
    ProviderChoice choice =
        switch (options.provider()) {
          case "scalar" ->
              scalar("cpu: -D%s=scalar turns it off".formatted(KernelOptions.PROVIDER));
          case "cuda" ->
              throw new IllegalStateException(
                  "%s=cuda: this build has no CUDA provider; use -D%s=cpu"
                      .formatted(KernelOptions.PROVIDER, KernelOptions.PROVIDER));
          case "cpu" -> {
            if (NativeBindings.FAILURE != null) {
              throw new IllegalStateException(
                  "%s=cpu: %s".formatted(KernelOptions.PROVIDER, whyNotNative()),
                  NativeBindings.FAILURE);
            }
            yield cpu(options.maxIsa());
          }
          default ->
              NativeBindings.FAILURE == null
                  ? cpu(options.maxIsa())
                  : scalar("cpu: " + whyNotNative());
        };
    requireProvider(options.require(), choice);
    if (options.provider().equals("auto") && NativeBindings.FAILURE != null) {
      LOGGER.log(
          System.Logger.Level.WARNING,
          "kernels run in plain Java, many times slower: {0}",
          whyNotNative());
    }
    return choice;
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
    return new ProviderChoice(new ScalarKernels(), List.of(NO_CUDA, note));
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
    notes.add(NO_CUDA);
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
    return new ProviderChoice(kernels, List.copyOf(notes));
  }
}
