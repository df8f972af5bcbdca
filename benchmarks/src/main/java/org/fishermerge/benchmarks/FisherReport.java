package org.fishermerge.benchmarks;

import java.io.IOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.LibTorchPeer;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/**
 * {@code benchmarks/run fisher}: the fused kernel against libtorch's GEMM of the same FLOPs, and an
 * exact per-example Fisher step with one probe against plain forward and backward of the same
 * batch. With {@code --peers PYTHON} also against PyTorch: per-sample gradients by {@code
 * vmap(grad)}, and FusionBench's formula. With {@code --gpu} the step alone, on a GPU, where
 * libtorch has CUDA.
 */
public final class FisherReport {
  private static final int B32_BATCH = 16;
  private static final int B32_BATCH_ON_GPU = 64;
  private static final int L14_BATCH_ON_GPU = 32;
  private static final String FISHER = "exact per-example Fisher, one probe";
  private static final String TRAIN = "plain forward and backward";
  private static final String FUSION_BENCH = "PyTorch, FusionBench's formula";
  // Which chunk is fastest depends on the machine's cores and memory; the faster one counts.
  private static final List<Integer> VMAP_CHUNKS = List.of(2, 8);

  private FisherReport() {}

  /**
   * Prints the report; {@code --quick} leaves out ViT-L/14, {@code --peers PYTHON} adds PyTorch.
   */
  public static void main(String[] args) throws IOException {
    try {
      ReportOptions options = ReportOptions.of(args);
      if (options.gpu()) {
        reportOnGpu(options.quick());
      } else {
        report(options.quick(), options.peers());
      }
    } catch (InputException | IllegalStateException e) {
      System.err.println("benchmarks/run fisher: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void report(boolean quick, @Nullable String python) throws IOException {
    Report report = new Report();
    try (Kernels kernels = Kernels.open();
        PythonPeers peers = python == null ? null : peers(python, kernels)) {
      report.line("%s", kernels.info());
      double kernel = kernelOverGemm(report, kernels, ClipShape.B32, B32_BATCH, quick ? 5 : 15);
      report.ratio("fisher_kernel_over_gemm", kernel);
      report.ratio("fisher_kernel_over_gemm_b32", kernel);
      Map<String, Double> seconds =
          steps(report, kernels, ClipShape.B32, B32_BATCH, quick ? 2 : 5, peers);
      double step = ratio(seconds, FISHER, TRAIN);
      report.ratio("fisher_step_over_train_step", step);
      report.ratio("fisher_step_over_train_step_b32", step);
      if (peers == null) {
        report.line(
            "PyTorch's vmap(grad) and FusionBench's formula beside it: --peers PYTHON, where"
                + " benchmarks/peers/requirements.txt is installed");
      } else {
        report.ratio(
            "vmap_over_ours",
            VMAP_CHUNKS.stream()
                .mapToDouble(chunk -> ratio(seconds, vmap(chunk), FISHER))
                .min()
                .orElseThrow());
        report.ratio("fusionbench_over_ours", ratio(seconds, FUSION_BENCH, FISHER));
      }
      if (!quick) {
        report.ratio(
            "fisher_kernel_over_gemm_l14", kernelOverGemm(report, kernels, ClipShape.L14, 2, 8));
        report.ratio(
            "fisher_step_over_train_step_l14",
            ratio(steps(report, kernels, ClipShape.L14, 2, 3, null), FISHER, TRAIN));
      }
    }
    report.finish();
  }

  /** In the precisions that plain training has too. */
  private static void reportOnGpu(boolean quick) throws IOException {
    Report report = new Report();
    LibTorch.useGpu(0);
    for (Precision precision : List.of(Precision.FP32, Precision.TF32)) {
      LibTorch.usePrecision(precision);
      KernelOptions options =
          KernelOptions.fromSystemProperties()
              .withProvider("cuda")
              .withRequire(Optional.of("cuda"))
              .withGpu(0)
              .withGpuPrecision(precision.text());
      try (Kernels kernels = Kernels.open(options)) {
        report.line("%s", kernels.info());
        String key = "gpu_fisher_step_over_train_step_" + precision.text();
        report.ratio(
            key + "_b32",
            ratio(
                steps(report, kernels, ClipShape.B32, B32_BATCH_ON_GPU, 20, null), FISHER, TRAIN));
        if (!quick) {
          report.ratio(
              key + "_l14",
              ratio(
                  steps(report, kernels, ClipShape.L14, L14_BATCH_ON_GPU, 10, null),
                  FISHER,
                  TRAIN));
        }
      }
    }
    report.finish();
  }

  private static double ratio(Map<String, Double> seconds, String step, String other) {
    return Objects.requireNonNull(seconds.get(step)) / Objects.requireNonNull(seconds.get(other));
  }

  private static PythonPeers peers(String python, Kernels kernels) {
    return new PythonPeers(
        python, PythonPeers.script("fisher_peers.py"), B32_BATCH, kernels.info().threads());
  }

  private static String vmap(int chunk) {
    return "PyTorch, vmap(grad), " + chunk + " examples at once";
  }

  /** Total FLOP rate over the layer shapes of one block, each counted once. */
  private static double kernelOverGemm(
      Report report, Kernels kernels, ClipShape shape, int batch, int rounds) {
    long[][] layers = {
      {3L * shape.width(), shape.width()},
      {shape.width(), shape.width()},
      {shape.mlp(), shape.width()},
      {shape.width(), shape.mlp()}
    };
    report.line(
        "%nfused kernel at %s, batch %d, %d tokens%n%-22s %12s %12s %8s",
        shape.name(), batch, shape.tokens(), "layer [O, I]", "GFLOP/s", "GEMM", "ratio");
    double ours = 0;
    double gemm = 0;
    for (long[] layer : layers) {
      try (SquaredGradientsWork work =
              new SquaredGradientsWork(batch, shape.tokens(), layer[0], layer[1], 1);
          LibTorchPeer peer = new LibTorchPeer(layer[0], layer[1], (long) batch * shape.tokens())) {
        double[] seconds = Stopwatch.best(rounds, () -> work.run(kernels), peer::multiply);
        report.line(
            "%-22s %12.1f %12.1f %8.3f",
            Arrays.toString(layer),
            work.flops() / seconds[0] / 1e9,
            work.flops() / seconds[1] / 1e9,
            seconds[1] / seconds[0]);
        ours += seconds[0];
        gemm += seconds[1];
      }
    }
    return gemm / ours;
  }

  /** Seconds of one step of a batch, by what the step computes. */
  private static Map<String, Double> steps(
      Report report,
      Kernels kernels,
      ClipShape shape,
      int batch,
      int rounds,
      @Nullable PythonPeers peers)
      throws IOException {
    try (FisherStepWork work = new FisherStepWork(shape, batch, kernels)) {
      Map<String, Runnable> steps = new LinkedHashMap<>();
      steps.put(FISHER, work::fisher);
      steps.put(TRAIN, work::train);
      if (peers != null) {
        VMAP_CHUNKS.forEach(chunk -> steps.put(vmap(chunk), () -> peers.run("vmap " + chunk)));
        steps.put(FUSION_BENCH, () -> peers.run("fusionbench"));
        steps.put("PyTorch, " + TRAIN, () -> peers.run("plain"));
      }
      double[] best = Stopwatch.best(rounds, steps.values().toArray(Runnable[]::new));
      report.line(
          "%n%-42s %12s %12s",
          "one step at %s, batch %d".formatted(shape.name(), batch), "s/example", "over ours");
      Map<String, Double> seconds = new LinkedHashMap<>();
      for (String step : steps.keySet()) {
        double time = best[seconds.size()];
        report.line("%-42s %12.4f %12.3f", step, time / batch, time / best[0]);
        seconds.put(step, time);
      }
      if (peers != null) {
        report.line("%s", peers.versions());
      }
      return seconds;
    }
  }
}
