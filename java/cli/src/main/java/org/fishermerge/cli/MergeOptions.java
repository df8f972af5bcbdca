package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.report.MergeFacts;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeResult;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.ProgressListener;
import org.fishermerge.merge.SparseTaskArithmetic;
import org.fishermerge.torch.runtime.LibTorchAlgebra;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Options that every kind of merge takes, and the running of one. */
final class MergeOptions {
  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR",
      description =
          "The pre-trained model: gives names, layout and every parameter that is not merged.")
  Path base = Path.of("");

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where the merged model goes: a folder, or a file ending in .safetensors.")
  Path out = Path.of("");

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(
      names = "--exclude",
      paramLabel = "REGEX",
      description =
          "Parameters that keep the base's values: a regular expression matched from the start of"
              + " their names. Repeatable.")
  private List<String> exclude = List.of();

  @Mixin DifferenceOptions different = new DifferenceOptions();

  @Option(
      names = "--include",
      paramLabel = "REGEX",
      description =
          "Merge only parameters whose names it matches, as --exclude does, and keep the base's"
              + " values of all others; what is excluded stays excluded. Repeatable.")
  private List<String> include = List.of();

  @Option(
      names = "--dtype",
      paramLabel = "DTYPE",
      description =
          "Dtype of the merged model: float32, float16, bfloat16 or float64, also as f32, half,"
              + " bf16, torch.bfloat16 and the like (default: the base's).")
  private @Nullable String dtype;

  @Mixin private OutputOptions output = new OutputOptions();

  /** Puts the places of what is on the hub in place of its names. */
  void locate(Places places) {
    base = places.model(base);
  }

  /** What the options ask for, without models. */
  MergeRequest.Builder request(MergeRule rule) {
    return request(rule, out);
  }

  /** The same, written somewhere else. */
  MergeRequest.Builder request(MergeRule rule, Path target) {
    MergeRequest.Builder request =
        MergeRequest.builder(base, target, rule)
            .overwrite(output.overwrite)
            .outputDtype(parse(dtype))
            .shardBytes(output.shardBytes);
    exclude.forEach(request::exclude);
    include.forEach(request::include);
    different.keys.forEach(request::allowDifferent);
    return request;
  }

  private static @Nullable DType parse(@Nullable String text) {
    if (text == null) {
      return null;
    }
    return DType.ofFloats(text)
        .orElseThrow(() ->
            new InputException(
                "--dtype " + text + ": expected float32, float16, bfloat16 or float64"));
  }

  boolean isDryRun() {
    return output.dryRun;
  }

  /** Plans and, unless this is a dry run, merges and writes the reports that are wanted. */
  int run(MergeRequest request, CommandLine command, ReportOption reports) {
    return run(request, output.dryRun, device, command, reports);
  }

  /** The same for a command that has options of its own. */
  static int run(
      MergeRequest request,
      boolean dryRun,
      DeviceOption device,
      CommandLine command,
      ReportOption reports) {
    if (reports.isWanted()) {
      reports.requireApart(request.output(), inputs(request));
    }
    try (CommandReport report =
            CommandReport.open(reports.files, command.getCommandSpec(), request.overwrite());
        MergeSession session = MergeSession.open(request)) {
      MergePlan plan = session.plan();
      if (dryRun) {
        command.getOut().println(plan);
        return 0;
      }
      plan.warnings().forEach(warning -> command.getErr().println("warning: " + warning));
      try (Kernels kernels = CommandDevice.forMerging(device.name).open()) {
        if (kernels.usesGpu() && request.rule() instanceof SparseTaskArithmetic) {
          command
              .getErr()
              .println("warning: a " + request.rule().title() + " is computed on the CPU");
        }
        Merged merged =
            merge(
                plan,
                kernels,
                plan.modelsText(),
                command,
                report,
                listener -> session.run(kernels, new LibTorchAlgebra(), listener));
        if (report != null) {
          MergeFacts.add(
              report.builder(),
              request,
              merged.result(),
              merged.seconds(),
              names(request),
              session.statisticFiles());
          report.publish();
        }
      }
    }
    return 0;
  }

  private static List<Path> inputs(MergeRequest request) {
    InputPaths read = new InputPaths().add(request.base());
    for (MergeSource source : request.models()) {
      read.add(source.model()).add(source.statistic().orElse(null));
    }
    return read.all();
  }

  /** Short distinct names of the models. */
  private static List<String> names(MergeRequest request) {
    return TaskNames.of(request.models().stream().map(MergeSource::model).toList());
  }

  Kernels openKernels() {
    return CommandDevice.forMerging(device.name).open();
  }

  /** Models that are loaded from now on run on that device too, if it can run them. */
  void runModelsThere(PrintWriter err) {
    CommandDevice.forModels(device.name, new Warnings(err));
  }

  /**
   * Merges and says so. Of the warnings, it prints those that the plan does not have.
   *
   * @param models that are merged, as the last line says it
   * @param report gets the stage; null if none is wanted
   */
  static Merged merge(
      MergePlan plan,
      Kernels kernels,
      String models,
      CommandLine command,
      @Nullable CommandReport report,
      Function<ProgressListener, MergeResult> merge) {
    PrintWriter err = command.getErr();
    if (report != null) {
      report.stages().beginMerge(plan, kernels);
    }
    long start = System.nanoTime();
    MergeResult result;
    try (Progress progress = new Progress(err, "Merging", "GB", plan.bytesRead(), 1e9)) {
      result = merge.apply((done, total) -> progress.update(done));
    }
    result.warnings().stream()
        .filter(warning -> !plan.warnings().contains(warning))
        .forEach(warning -> err.println("warning: " + warning));
    double seconds = (System.nanoTime() - start) / 1e9;
    if (report != null) {
      report.stages().endMerge(plan, result, seconds);
    }
    if (result.iterations() > 0) {
      command
          .getOut()
          .printf(
              Locale.ROOT,
              "conjugate gradients: %,d iterations over all layers, which left %.2g of the average's"
                  + " residual at most%n",
              result.iterations(),
              result.worstResidual());
    }
    command
        .getOut()
        .printf(
            Locale.ROOT,
            "%s: %,d parameters in %d tensors merged from %s, %d tensors from the base;"
                + " %.2f s, %.2f GB/s%n",
            result.output(),
            plan.mergedElements(),
            plan.merged().size() + plan.tied().size(),
            models,
            plan.carriedOver().size() + plan.excluded().size(),
            seconds,
            (plan.bytesRead() + plan.bytesWritten()) / seconds / 1e9);
    return new Merged(result, seconds);
  }

  /** What a merge made, and how long it took. */
  record Merged(MergeResult result, double seconds) {}
}
