package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.ClipClassifier;
import org.fishermerge.torch.ClipVisionTower;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.fishermerge.torch.LibTorchPeer;
import org.fishermerge.torch.VisionTraining;
import org.fishermerge.torch.ZeroShotHead;

/**
 * {@code benchmarks/run fisher}: the fused kernel against libtorch's GEMM of the same FLOPs, and an
 * exact per-example Fisher step with one probe against plain forward and backward of the same
 * batch.
 */
public final class FisherReport {
  private static final int CLASSES = 10;

  private FisherReport() {}

  /** Prints the report; {@code --quick} leaves out ViT-L/14. */
  public static void main(String[] args) throws IOException {
    boolean quick = Arrays.asList(args).contains("--quick");
    Report report = new Report();
    try (Kernels kernels = Kernels.open()) {
      report.line("%s", kernels.info());
      double kernel = kernelOverGemm(report, kernels, ClipShape.B32, 16, quick ? 5 : 15);
      report.ratio("fisher_kernel_over_gemm", kernel);
      report.ratio("fisher_kernel_over_gemm_b32", kernel);
      double step = stepOverTrainStep(report, kernels, ClipShape.B32, 16, quick ? 2 : 5);
      report.ratio("fisher_step_over_train_step", step);
      report.ratio("fisher_step_over_train_step_b32", step);
      if (!quick) {
        report.ratio(
            "fisher_kernel_over_gemm_l14", kernelOverGemm(report, kernels, ClipShape.L14, 2, 8));
        report.ratio(
            "fisher_step_over_train_step_l14",
            stepOverTrainStep(report, kernels, ClipShape.L14, 2, 3));
      }
    }
    report.finish();
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
      try (OuterSquareWork work =
              new OuterSquareWork(batch, shape.tokens(), layer[0], layer[1], 1);
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

  private static double stepOverTrainStep(
      Report report, Kernels kernels, ClipShape shape, int batch, int rounds) throws IOException {
    Path folder = Files.createTempDirectory("fisher-merge-benchmark");
    try (Arena arena = Arena.ofConfined();
        Checkpoint checkpoint = Checkpoint.open(shape.write(folder, 1));
        ClipVisionTower tower = ClipVisionTower.load(checkpoint);
        ZeroShotHead head = ZeroShotHead.of(checkpoint, headRows(shape), CLASSES, "random head");
        VisionTraining training = new VisionTraining(checkpoint);
        FisherEstimator estimator =
            new FisherEstimator(
                new ClipClassifier(tower, head), new LabelExpectation.Sampled(1), 1, kernels)) {
      ClipClassifier classifier = new ClipClassifier(tower, head);
      long count = (long) batch * 3 * shape.image() * shape.image();
      MemorySegment pixels = arena.allocate(count * Float.BYTES, 64);
      Random random = new Random(1);
      for (long j = 0; j < count; j++) {
        pixels.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) random.nextGaussian());
      }
      long[] labels = new long[batch];
      double[] seconds =
          Stopwatch.best(
              rounds,
              () -> {
                try (ForwardPass pass = classifier.forward(pixels, batch)) {
                  estimator.add(pass, null);
                }
              },
              () -> {
                training.forwardBackward(head, pixels, labels);
                training.clearGradients();
              });
      report.line(
          "%none step at %s, batch %d: exact per-example Fisher, one probe %.3f s; plain forward and"
              + " backward %.3f s; ratio %.3f",
          shape.name(), batch, seconds[0], seconds[1], seconds[0] / seconds[1]);
      return seconds[0] / seconds[1];
    } finally {
      try (var files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
  }

  private static float[] headRows(ClipShape shape) {
    Random random = new Random(2);
    float[] rows = new float[CLASSES * shape.projection()];
    for (int c = 0; c < CLASSES; c++) {
      double norm = 0;
      for (int i = 0; i < shape.projection(); i++) {
        float value = (float) random.nextGaussian();
        rows[c * shape.projection() + i] = value;
        norm += value * value;
      }
      for (int i = 0; i < shape.projection(); i++) {
        rows[c * shape.projection() + i] /= (float) Math.sqrt(norm);
      }
    }
    return rows;
  }
}
