package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.LibTorchAlgebra;
import org.jspecify.annotations.Nullable;

/**
 * {@code benchmarks/run rules}: what statistics of linear layers cost, beside plain training; and
 * what rules that solve for layers take for eight models, beside bare LAPACK calls. With {@code
 * --peers PYTHON} also beside the same statistics by hooks, and regression means by FusionBench's
 * formula, in PyTorch.
 */
public final class RulesReport {
  private static final int BATCH = 16;
  private static final int MODELS = 8;
  private static final double GB = 1e9;
  private static final String TRAIN = "plain forward and backward";

  private RulesReport() {}

  /** Prints the report; {@code --quick} leaves out ViT-L/14. */
  public static void main(String[] args) throws IOException, InterruptedException {
    try {
      report(ReportOptions.of(args));
    } catch (InputException | IllegalStateException e) {
      System.err.println("benchmarks/run rules: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void report(ReportOptions options) throws IOException, InterruptedException {
    Report report = new Report();
    LibTorch.initialize();
    try (Kernels kernels = Kernels.open()) {
      report.line("%s", kernels.info());
      steps(report, kernels, options.quick() ? 3 : 7, options.peers());
    }
    LinearAlgebra algebra = new LibTorchAlgebra();
    small(report, algebra);
    if (!options.quick()) {
      large(report, algebra);
    }
    SparseRulesReport.sections(report, options.quick());
    report.finish();
  }

  private static void steps(Report report, Kernels kernels, int rounds, @Nullable String python)
      throws IOException {
    try (FisherStepWork work = new FisherStepWork(ClipShape.B32, BATCH, kernels);
        PythonPeers peers =
            python == null
                ? null
                : new PythonPeers(
                    python,
                    PythonPeers.script("rules_peers.py"),
                    BATCH,
                    kernels.info().threads())) {
      Map<String, Runnable> steps = new LinkedHashMap<>();
      steps.put(TRAIN, work::train);
      steps.put("gram", work.estimating(StatisticKind.GRAM));
      steps.put("kronecker, one probe", work.estimating(StatisticKind.KRONECKER));
      if (peers != null) {
        steps.put("PyTorch, " + TRAIN, () -> peers.run("plain"));
        steps.put("PyTorch, gram by hooks", () -> peers.run("gram"));
        steps.put("PyTorch, kronecker by hooks", () -> peers.run("kronecker"));
      }
      double[] best = Stopwatch.best(rounds, steps.values().toArray(Runnable[]::new));
      report.line(
          "%n%-42s %12s %14s",
          "one step at b32, batch %d".formatted(BATCH), "s/example", "over training");
      int i = 0;
      for (String step : steps.keySet()) {
        report.line("%-42s %12.4f %14.3f", step, best[i] / BATCH, best[i] / best[0]);
        i++;
      }
      report.ratio("gram_over_train_step_b32", best[1] / best[0]);
      report.ratio("kronecker_over_train_step_b32", best[2] / best[0]);
      if (peers == null) {
        report.line(
            "the same by hooks in PyTorch beside it: --peers PYTHON, where"
                + " benchmarks/peers/requirements.txt is installed");
      } else {
        report.line("%s", peers.versions());
        report.ratio("pytorch_gram_over_ours", best[4] / best[1]);
        report.ratio("pytorch_kronecker_over_ours", best[5] / best[2]);
      }
    }
  }

  private static void small(Report report, LinearAlgebra algebra)
      throws IOException, InterruptedException {
    try (LayerMerges merges = new LayerMerges(ClipShape.B32, MODELS, MODELS)) {
      report.line(
          "%n%d models of b32, random weights and made-up factors, from the page cache%n%-42s %12s"
              + " %12s %12s",
          MODELS, "", "seconds", "iterations", "memory, GB");
      merges.writeStatistics(StatisticKind.GRAM, MODELS, algebra.inSingle());
      double reading = merges.readGrams(algebra);
      double bare = merges.solveGrams(algebra);
      LayerMerges.Run regmean = merges.merge(StatisticKind.GRAM, "--rule", "regmean");
      line(report, "the command, regmean", regmean);
      report.line("%-42s %12.1f", "reading into double", reading);
      report.line("%-42s %12.1f", "the same with bare LAPACK calls", bare);
      report.ratio("lapack_and_reading_over_regmean_b32", bare / regmean.seconds());
      merges.deleteStatistics(StatisticKind.GRAM);
      merges.writeStatistics(StatisticKind.KRONECKER, MODELS, algebra.inSingle());
      LayerMerges.Run kronecker = merges.merge(StatisticKind.KRONECKER, "--rule", "kronecker");
      line(report, "the command, kronecker", kronecker);
      report.ratio("kronecker_merge_seconds_b32", kronecker.seconds());
      report.ratio("kronecker_merge_iterations_b32", (double) kronecker.iterations());
    }
  }

  /** Two sets of files for the eight: equal ones cost as much memory, and less disk. */
  private static void large(Report report, LinearAlgebra algebra)
      throws IOException, InterruptedException {
    long bytes = 8 * ClipShape.L14.parameterCount() * Float.BYTES;
    Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
    if (Files.getFileStore(temporary).getUsableSpace() < bytes) {
      report.line("%nl14 left out: it needs %.0f GB of disk under %s", bytes / GB, temporary);
      return;
    }
    try (LayerMerges merges = new LayerMerges(ClipShape.L14, MODELS, 2)) {
      report.line(
          "%n%d models of l14%n%-42s %12s %12s %12s",
          MODELS, "", "seconds", "iterations", "memory, GB");
      merges.writeStatistics(StatisticKind.GRAM, 2, algebra.inSingle());
      LayerMerges.Run regmean = merges.merge(StatisticKind.GRAM, "--rule", "regmean");
      line(report, "the command, regmean", regmean);
      merges.deleteStatistics(StatisticKind.GRAM);
      merges.writeStatistics(StatisticKind.KRONECKER, 2, algebra.inSingle());
      LayerMerges.Run kronecker = merges.merge(StatisticKind.KRONECKER, "--rule", "kronecker");
      line(report, "the command, kronecker", kronecker);
      report.ratio("regmean_memory_l14_gb", regmean.anonymousBytes() / GB);
      report.ratio("kronecker_memory_l14_gb", kronecker.anonymousBytes() / GB);
      report.ratio("kronecker_merge_seconds_l14", kronecker.seconds());
    }
  }

  private static void line(Report report, String what, LayerMerges.Run run) {
    report.line(
        "%-42s %12.1f %12s %12.2f",
        what,
        run.seconds(),
        run.iterations() == 0 ? "" : Long.toString(run.iterations()),
        run.anonymousBytes() / GB);
  }
}
