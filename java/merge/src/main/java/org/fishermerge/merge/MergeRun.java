package org.fishermerge.merge;

import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSink;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.MappedFile;
import org.fishermerge.kernels.MappedGuard;
import org.jspecify.annotations.Nullable;

/** One execution of a plan: all passes, and the output, which appears whole or not at all. */
final class MergeRun {
  private final MergePlan plan;
  private final OpenFiles files;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final MergeProgress progress;
  private final StatisticScan scan;
  private final StreamingAverage average;
  private final KeptTensors kept;
  private final Optional<LayerMerge> layers;
  private final Optional<TensorMerge> tensors;

  private MergeRun(
      MergePlan plan,
      OpenFiles files,
      Kernels kernels,
      @Nullable LinearAlgebra algebra,
      boolean streamed,
      ProgressListener listener) {
    this.plan = plan;
    this.files = files;
    this.inputs = files.inputs(plan.request());
    this.kernels = kernels;
    this.progress = new MergeProgress(listener, plan.bytesRead());
    this.scan = new StatisticScan(plan, inputs, kernels, progress);
    this.average = new StreamingAverage(plan, inputs, kernels, streamed, scan, progress);
    this.kept = new KeptTensors(plan, inputs.base(), kernels, progress);
    this.layers =
        plan.request().rule() instanceof LayerRule rule
            ? Optional.of(
                new LayerMerge(plan, rule, inputs, kernels, required(algebra, rule), progress))
            : Optional.empty();
    this.tensors =
        plan.request().rule() instanceof TensorRule rule
            ? Optional.of(new TensorMerge(plan, rule, inputs, kernels, progress))
            : Optional.empty();
  }

  private static LinearAlgebra required(@Nullable LinearAlgebra algebra, MergeRule rule) {
    if (algebra == null) {
      throw new IllegalArgumentException(
          "a " + rule.title() + " solves systems of equations, and needs a LinearAlgebra");
    }
    return algebra;
  }

  /**
   * Runs a plan.
   *
   * @param files that are open, the plan's among them
   * @param algebra for rules by layer
   * @param streamed whether the inputs are read from their files
   */
  static MergeResult run(
      MergePlan plan,
      OpenFiles files,
      Kernels kernels,
      @Nullable LinearAlgebra algebra,
      boolean streamed,
      ProgressListener listener) {
    plan.files().forEach(file -> file.requireUnchanged(InputFile.SINCE_PLANNED));
    MergeRequest request = plan.request();
    if (request.rule() instanceof LayerRule rule) {
      OptionalLong free = required(algebra, rule).freeBytes();
      (free.isPresent() ? free : kernels.gpuFreeBytes()).ifPresent(plan::requireMemory);
    }
    MergeRun run = new MergeRun(plan, files, kernels, algebra, streamed, listener);
    TensorSink sink = request.sink();
    if (sink != null) {
      MergeProgress.requireNotInterrupted();
      run.write(() -> CheckpointWriter.sink(sink, plan.written(), request.inMemory().values()));
      run.requireUnchanged();
      return run.result();
    }
    try (AtomicOutput output =
        OutputTarget.isSingleFile(request)
            ? AtomicOutput.file(request.output(), request.overwrite())
            : AtomicOutput.folder(request.output(), request.overwrite())) {
      run.write(() -> run.create(output.temp()));
      OutputTarget.copySidecars(plan.sidecars(), output.temp(), request);
      run.requireUnchanged();
      output.commit();
      return run.result();
    }
  }

  private void write(Supplier<CheckpointWriter> target) {
    // Opened first: what is wrong with it is said before an hour of reading, not after.
    try (CheckpointWriter writer = target.get()) {
      List<MappedFile> mapped = new ArrayList<>(files.mappedFiles());
      mapped.addAll(OpenFiles.mappedFiles(writer.mappings().stream()));
      MappedGuard guard = kernels.guard(mapped);
      try (guard) {
        new StatisticPairs(inputs).verifyHashes(plan.verifiedModels(), progress::advance);
        scan.computeNorms();
        write(writer);
      }
      OpenFiles.requireUndamaged(guard);
      writer.finish();
    } catch (InternalError | InputException e) {
      // A file that is cut short reads as zeros, or fails with an InternalError in Java.
      requireUnchanged();
      throw e;
    } catch (UncheckedIOException e) {
      requireUnchanged();
      throw OpenFiles.failed(e);
    }
  }

  private void requireUnchanged() {
    plan.files().forEach(file -> file.requireUnchanged(InputFile.WHILE_READ));
  }

  private void write(CheckpointWriter writer) {
    for (Parameter parameter : plan.choice().merged()) {
      parameter.copies().forEach(copy -> writer.copy(parameter.tensor().name(), copy.name()));
    }
    if (tensors.isPresent()) {
      tensors.get().write(writer);
    } else {
      average.write(writer);
    }
    if (scan.recomputesNorms()) {
      average.write(writer);
    }
    layers.ifPresent(merge -> merge.write(writer));
    for (CheckpointTensor tensor : plan.choice().kept()) {
      kept.write(tensor, writer);
    }
  }

  private CheckpointWriter create(Path target) {
    Map<String, String> metadata = Map.of("format", "pt");
    return OutputTarget.isSingleFile(plan.request())
        ? CheckpointWriter.file(target, plan.written(), metadata)
        : CheckpointWriter.folder(target, plan.written(), metadata, plan.request().shardBytes());
  }

  private MergeResult result() {
    List<String> warnings = new ArrayList<>(plan.warnings());
    warnings.addAll(scan.warnings());
    layers.map(LayerMerge::warnings).ifPresent(warnings::addAll);
    List<TensorShares> shares = new ArrayList<>(average.shares());
    layers.map(LayerMerge::shares).ifPresent(shares::addAll);
    tensors.map(TensorMerge::shares).ifPresent(shares::addAll);
    Residuals residuals = layers.map(LayerMerge::residuals).orElseGet(Residuals::new);
    return new MergeResult(
        plan.request().output(),
        plan.mergedElements(),
        progress.bytesRead(),
        plan.bytesWritten(),
        scan.results(),
        residuals.largest(),
        residuals.iterations(),
        List.copyOf(shares),
        List.copyOf(warnings));
  }
}
