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
    merges(report, algebra, ClipShape.B32, MODELS);
    if (!options.quick()) {
      merges(report, algebra, ClipShape.L14, 2);
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

  /**
   * Merges of eight models.
   *
   * @param distinct how many sets of files there are: equal ones cost as much memory, and less disk
   */
  private static void merges(Report report, LinearAlgebra algebra, ClipShape shape, int distinct)
      throws IOException, InterruptedException {
    long bytes = 4L * distinct * shape.parameterCount() * Float.BYTES;
    Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
    if (Files.getFileStore(temporary).getUsableSpace() < bytes) {
      report.line(
          "%n%s left out: it needs %.0f GB of disk under %s", shape.name(), bytes / GB, temporary);
      return;
    }
    try (LayerMerges merges = new LayerMerges(shape, MODELS, distinct)) {
      report.line(
          "%n%d models of %s, random weights and made-up factors, from the page cache%n%-42s %12s"
              + " %12s %12s",
          MODELS, shape.name(), "", "seconds", "iterations", "memory, GB");
      merges.writeStatistics(StatisticKind.GRAM, distinct, algebra.inSingle());
      LayerMerges.Run regmean = merges.merge(StatisticKind.GRAM, "--rule", "regmean");
      line(report, shape, "regmean", regmean);
      if (distinct == MODELS) {
        double bare = merges.solveGrams(algebra);
        report.line("%-42s %12.1f", "reading into double", merges.readGrams(algebra));
        report.line("%-42s %12.1f", "the same with bare LAPACK calls", bare);
        report.ratio("lapack_and_reading_over_regmean_" + shape.name(), bare / regmean.seconds());
      }
      merges.deleteStatistics(StatisticKind.GRAM);
      merges.writeStatistics(StatisticKind.KRONECKER, distinct, algebra.inSingle());
      line(
          report, shape, "kronecker", merges.merge(StatisticKind.KRONECKER, "--rule", "kronecker"));
    }
  }

  private static void line(Report report, ClipShape shape, String rule, LayerMerges.Run run) {
    report.line(
        "%-42s %12.1f %12s %12.2f",
        "the command, " + rule,
        run.seconds(),
        run.iterations() == 0 ? "" : Long.toString(run.iterations()),
        run.anonymousBytes() / GB);
    report.ratio(rule + "_merge_seconds_" + shape.name(), run.seconds());
    report.ratio(rule + "_memory_" + shape.name() + "_gb", run.anonymousBytes() / GB);
    if (run.iterations() > 0) {
      report.ratio(rule + "_merge_iterations_" + shape.name(), (double) run.iterations());
    }
  }
}
