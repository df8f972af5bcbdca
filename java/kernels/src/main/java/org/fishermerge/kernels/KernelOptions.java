package org.fishermerge.kernels;

import java.util.Optional;
import java.util.Properties;

/**
 * Which kernels to use.
 *
 * @param provider {@code scalar} (plain Java), {@code cpu} (native library), {@code cuda} (GPU) or
 *     {@code auto}, the better of the first two. Where {@code cuda} finds no GPU, auto takes its
 *     place, with a warning
 * @param maxIsa {@code auto}, or the highest instruction set that the cpu provider may choose; it
 *     can only lower the choice
 * @param require {@code cpu} or {@code cuda} if opening any other provider is to fail
 * @param threads worker threads including the caller, at least 1
 * @param gpu index of the GPU that the cuda provider uses
 * @param gpuPrecision precision in which the cuda provider multiplies weight gradients: {@code
 *     fp32} (as the cpu provider), {@code tf32} or {@code bf16} (on tensor cores); sums are F32 in
 *     all of them
 */
public record KernelOptions(
    String provider,
    String maxIsa,
    Optional<String> require,
    int threads,
    int gpu,
    String gpuPrecision) {
  /** System property for {@link #provider}. */
  public static final String PROVIDER = "fishermerge.provider";

  /** System property for {@link #maxIsa}. */
  public static final String MAX_ISA = "fishermerge.max-isa";

  /** System property for {@link #require}. */
  public static final String REQUIRE = "fishermerge.require";

  /** System property for {@link #threads}. */
  public static final String THREADS = "fishermerge.threads";

  /**
   * System property: file of the native library to load in place of the one in the jar, once per
   * process.
   */
  public static final String LIBRARY_PATH = "fishermerge.library.path";

  /** System property: as {@link #LIBRARY_PATH}, of the CUDA library. */
  public static final String CUDA_LIBRARY_PATH = "fishermerge.cuda.library.path";

  /** System property for {@link #gpu}. */
  public static final String CUDA_DEVICE = "fishermerge.cuda.device";

  /** System property for {@link #gpuPrecision}. */
  public static final String CUDA_PRECISION = "fishermerge.cuda.precision";

  /**
   * System property: page-locked memory, and as much of the GPU's, of each of the two slots that
   * averages pass through; 72 MiB unless set.
   */
  public static final String CUDA_SLOT_BYTES = "fishermerge.cuda.slot-bytes";

  /** System property: {@code true} waits for the GPU after every kernel, to find a fault. */
  public static final String CUDA_SYNCHRONOUS = "fishermerge.cuda.synchronous";

  /** Rejects fewer than one thread. */
  public KernelOptions {
    if (threads < 1) {
      throw new IllegalArgumentException("%s must be at least 1: %d".formatted(THREADS, threads));
    }
  }

  /** With {@link #gpu} 0 and {@link #gpuPrecision} fp32. */
  public KernelOptions(String provider, String maxIsa, Optional<String> require, int threads) {
    this(provider, maxIsa, require, threads, 0, "fp32");
  }

  /**
   * The values of the system properties; one that is absent or empty has its default.
   *
   * @throws IllegalArgumentException if a number is not one, or out of range
   */
  public static KernelOptions fromSystemProperties() {
    return from(System.getProperties());
  }

  static KernelOptions from(Properties properties) {
    return new KernelOptions(
        value(properties, PROVIDER).orElse("auto"),
        value(properties, MAX_ISA).orElse("auto"),
        value(properties, REQUIRE),
        value(properties, THREADS)
            .map(text -> parse(THREADS, text))
            .orElseGet(() -> Runtime.getRuntime().availableProcessors()),
        value(properties, CUDA_DEVICE).map(text -> parse(CUDA_DEVICE, text)).orElse(0),
        value(properties, CUDA_PRECISION).orElse("fp32"));
  }

  /** Whether the cuda provider is asked for. */
  public boolean asksForGpu() {
    return provider.equals(Provider.CUDA.text());
  }

  /** Whether any provider but cuda must be a failure. */
  public boolean requiresGpu() {
    return require.equals(Optional.of(Provider.CUDA.text()));
  }

  /** The same with another provider. */
  public KernelOptions withProvider(String newProvider) {
    return new KernelOptions(newProvider, maxIsa, require, threads, gpu, gpuPrecision);
  }

  /** The same with another limit of the instruction set. */
  public KernelOptions withMaxIsa(String newMaxIsa) {
    return new KernelOptions(provider, newMaxIsa, require, threads, gpu, gpuPrecision);
  }

  /** The same with another requirement. */
  public KernelOptions withRequire(Optional<String> newRequire) {
    return new KernelOptions(provider, maxIsa, newRequire, threads, gpu, gpuPrecision);
  }

  /** The same with another number of threads. */
  public KernelOptions withThreads(int newThreads) {
    return new KernelOptions(provider, maxIsa, require, newThreads, gpu, gpuPrecision);
  }

  /** The same on another GPU. */
  public KernelOptions withGpu(int newGpu) {
    return new KernelOptions(provider, maxIsa, require, threads, newGpu, gpuPrecision);
  }

  /** The same in another precision. */
  public KernelOptions withGpuPrecision(String newPrecision) {
    return new KernelOptions(provider, maxIsa, require, threads, gpu, newPrecision);
  }

  private static Optional<String> value(Properties properties, String key) {
    return Optional.ofNullable(properties.getProperty(key)).filter(text -> !text.isEmpty());
  }

  private static int parse(String key, String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("%s must be a whole number: '%s'".formatted(key, text), e);
    }
  }
}
