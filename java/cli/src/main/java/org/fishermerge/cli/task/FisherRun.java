package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.data.ClassCoverage;
import org.fishermerge.data.Examples;
import org.fishermerge.data.Selection;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.BatchSizeCheck;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.FisherProgress;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/**
 * How the Fisher information of a model is estimated.
 *
 * @param rule how labels are averaged over
 * @param order which examples; null is that of the rule
 * @param examples how many, at most
 * @param seed of the selection and of drawn labels
 * @param batchSize examples per forward pass, or {@link BatchSize#AUTO}
 * @param atMost what auto does not go beyond
 * @param check whether two batch sizes are compared first
 * @param precision what models are multiplied in, wherever they run
 * @param badRows what becomes of rows that cannot be used
 * @param spelling how messages name a setting
 */
public record FisherRun(
    LabelExpectation rule,
    @Nullable Order order,
    long examples,
    long seed,
    String batchSize,
    int atMost,
    boolean check,
    Precision precision,
    BadRows badRows,
    Spelling spelling) {
  /** Examples that the memory of a batch is measured with. */
  private static final int MEASURED = 2;

  private static final int MEASURED_ON_GPU = 8;

  /** The rule unless another is asked for. */
  public static final String DEFAULT_LABELS = "adaptive:4";

  /** Which examples. */
  public enum Order {
    FIRST,
    SHUFFLED,
    STRATIFIED;

    Selection selection(long count, long seed) {
      return switch (this) {
        case FIRST -> new Selection.First(count);
        case SHUFFLED -> new Selection.Shuffled(count, seed);
        case STRATIFIED -> new Selection.Stratified(count, seed);
      };
    }

    /** As on the command line and in Fisher files. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** How a user writes that a setting has a value. */
  public interface Spelling {
    String of(String setting, String value);
  }

  /** What a run did. */
  public record Result(
      long examples,
      SkippedRows skipped,
      LabelExpectation rule,
      double probesPerExample,
      int batch,
      double seconds) {}

  /** What is wrong with the settings themselves is found here. */
  public FisherRun {
    if (examples < 1) {
      throw new InputException(spelling.of("examples", examples + ": must be at least 1"));
    }
    BatchSize.check(batchSize);
    if (check && rule.squaresBatches()) {
      throw new InputException(
          "--check: the estimate of "
              + spelling.of("labels", rule.text())
              + " depends on the batch size by definition; leave the check out");
    }
  }

  /** Which examples, with the default of the rule: FusionBench takes the first rows. */
  public Order chosenOrder() {
    return order != null ? order : rule.squaresBatches() ? Order.FIRST : Order.SHUFFLED;
  }

  /**
   * Estimates and writes a Fisher file. What is summed up is saved at intervals beside the output,
   * and taken up from there by the same run; the caller ends that with {@link #finished}.
   *
   * @param device where the task's model is loaded
   * @param file where nothing is yet
   * @param output where the caller puts the file in the end
   * @param out told of the check
   * @param err told of memory, progress and warnings
   */
  public Result run(
      FisherTask task,
      SharedDevice device,
      Path file,
      Path output,
      PrintWriter out,
      PrintWriter err) {
    Order chosenOrder = chosenOrder();
    if (rule.needsLabels()) {
      task.requireLabels(spelling.of("labels", rule.text()));
    }
    if (chosenOrder == Order.STRATIFIED) {
      task.requireLabels(spelling.of("selection", chosenOrder.text()));
    }
    SkippedRows skipped = new SkippedRows(badRows, new Warnings(err));
    long[] chosen = usable(task, chosenOrder, skipped);
    if (chosenOrder == Order.FIRST) {
      warnOfClassOrder(task.examples(), chosen, err);
    }
    long[] rows = task.inRunOrder(chosen, rule);
    try (Progress preparing = Progress.passing(err, "Preparing");
        Kernels kernels = device.device().open();
        ProcessMemory memory = new ProcessMemory()) {
      long start = System.nanoTime();
      task.prepare(rows, kernels, err);
      String modelSha256 = task.modelSha256();
      String settings = settings(task, modelSha256, rows);
      SavedProgress saved = new SavedProgress(SavedProgress.of(output), err);
      OptionalInt savedBatch = savedBatch(saved, settings);
      Batch chosenBatch =
          batch(savedBatch, rows.length, device, () -> memoryPlan(task, rows, kernels));
      int batch = chosenBatch.size;
      int largest = chosenBatch.largest;
      Optional<MemoryPlan> shown = chosenBatch.plan.filter(plan -> plan.matters(largest));
      shown.ifPresent(plan -> announce(plan, largest, err));
      LabelExpectation expectation = calibrated(task, chosen, batch);
      Supplier<FisherEstimator> estimators =
          () -> {
            FisherEstimator estimator =
                new FisherEstimator(task.classifier(), expectation, seed, kernels);
            estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
            return estimator;
          };
      if (check) {
        long before = System.nanoTime();
        check(task, estimators, Arrays.copyOf(rows, largest), out);
        start += System.nanoTime() - before;
      }
      try (FisherEstimator estimator = estimators.get();
          Progress progress = new Progress(err, "Fisher information", "examples", rows.length, 1)) {
        SafetensorsWriter.requireRoom(output, estimator.bytes());
        String run = settings + predictions(task, rows, expectation);
        saved.resume(estimator, run, batch, rows.length);
        if (estimator.examples() < rows.length) {
          task.accumulate(
              Arrays.copyOfRange(rows, Math.toIntExact(estimator.examples()), rows.length),
              batch,
              expectation,
              estimator,
              done -> {
                progress.update(done);
                saved.afterBatch(estimator, run, batch);
                device.betweenBatches();
              });
        }
        task.remark(estimator, err);
        task.write(
            estimator,
            file,
            new FisherMetadata(
                estimator.examples(),
                expectation.squaresBatches()
                    ? expectation.text() + ":" + batch
                    : expectation.text(),
                task.examples().description(),
                chosenOrder.text(),
                Long.toString(seed),
                modelSha256,
                task.modelFingerprint(),
                precision == Precision.FP32 ? null : precision.text(),
                Tool.nameAndVersion()));
        shown
            .filter(plan -> !plan.gpu() && device.wasNotShared())
            .ifPresent(plan -> compare(plan.peak(largest), memory.peak(), err));
        return new Result(
            estimator.examples(),
            skipped,
            expectation,
            (double) estimator.probes() / estimator.examples(),
            batch,
            (System.nanoTime() - start) / 1e9);
      }
    }
  }

  /**
   * The rows that are chosen, without those that cannot be used. All are looked at before the first
   * one runs, so that nothing else about the run depends on them.
   */
  private long[] usable(FisherTask task, Order order, SkippedRows skipped) {
    boolean byLabel = rule.needsLabels() || order == Order.STRATIFIED;
    if (byLabel) {
      task.withLabels(new long[0], skipped); // says so where there is no label at all
    }
    long[] chosen = order.selection(examples, seed).rows(task.examples());
    skipped.of(chosen.length);
    long[] usable = task.readable(byLabel ? task.withLabels(chosen, skipped) : chosen, skipped);
    skipped.requireSome(usable.length);
    return usable;
  }

  /**
   * The examples of a forward pass.
   *
   * @param largest the most that the run or its check ever has
   * @param plan of the memory that they take
   */
  private record Batch(int size, int largest, Optional<MemoryPlan> plan) {}

  /** What fits the device, beside what other models were promised there. */
  private Batch batch(
      OptionalInt saved,
      int rows,
      SharedDevice device,
      Supplier<Optional<MemoryPlan>> measurement) {
    Batch batch;
    do {
      Optional<MemoryPlan> plan = device.plan(measurement);
      int size =
          saved.isPresent()
              ? saved.getAsInt()
              : BatchSize.choose(batchSize, plan, Math.min(rows, atMost), rule);
      batch = new Batch(size, Math.min(check ? Math.max(size, 2) : size, rows), plan);
    } while (batch.plan.isPresent()
        && !batch.plan.get().fits(batch.largest)
        && device.awaitAnother());
    device.promise(batch.plan, batch.largest);
    return batch;
  }

  private Optional<MemoryPlan> memoryPlan(FisherTask task, long[] rows, Kernels kernels) {
    int several = kernels.gpuFreeBytes().isPresent() ? MEASURED_ON_GPU : MEASURED;
    return task.memoryPlan(
        rows,
        () -> new FisherEstimator(task.classifier(), rule, seed, kernels),
        check ? 2 : 1,
        BatchSize.isOne(batchSize) && !check ? 1 : several);
  }

  /** Removes what was saved on the way to an output that is now in its place. */
  public static void finished(Path output, PrintWriter err) {
    SavedProgress.remove(output, err);
  }

  /** A choice by free memory is that of the run that is taken up. */
  private OptionalInt savedBatch(SavedProgress saved, String settings) {
    if (!batchSize.equals(BatchSize.AUTO)) {
      return OptionalInt.empty();
    }
    return saved.read().stream()
        .filter(progress -> progress.run().startsWith(settings))
        .mapToInt(FisherProgress::batch)
        .findFirst();
  }

  /** Names what is known of a run before the model runs. */
  private String settings(FisherTask task, String modelSha256, long[] rows) {
    ContentKey key =
        new ContentKey("fisher-merge progress 1")
            .add(modelSha256)
            .add(rule.text())
            .add(chosenOrder().text())
            .add(seed)
            .add(task.examples().description());
    if (precision != Precision.FP32) {
      key.add(precision.text());
    }
    for (long row : rows) {
      key.add(row);
    }
    return key.hex() + " ";
  }

  /** Names what else an estimate depends on, head and data, by what becomes of the ends of it. */
  private static String predictions(FisherTask task, long[] rows, LabelExpectation expectation) {
    ContentKey key = new ContentKey(expectation.toString());
    try (ForwardPass pass = task.forward(new long[] {rows[0], rows[rows.length - 1]})) {
      for (double[] p : pass.predictions()) {
        for (double value : p) {
          key.add(Double.doubleToLongBits(value));
        }
      }
    }
    return key.hex();
  }

  /** Fits a rule that asks for it to the model's predictions of the first examples chosen. */
  private LabelExpectation calibrated(FisherTask task, long[] chosen, int batch) {
    int wanted = Math.min(rule.calibrationExamples(), chosen.length);
    List<double[]> predictions = new ArrayList<>();
    task.forEachBatch(
        task.inRunOrder(Arrays.copyOf(chosen, wanted), rule),
        batch,
        rule,
        (pass, labels) -> predictions.addAll(pass.predictions()));
    return rule.calibrated(predictions);
  }

  private void announce(MemoryPlan plan, int batch, PrintWriter err) {
    err.println("memory: " + plan.text(batch));
    plan.requireFits(batch, spelling);
  }

  private static void compare(long planned, OptionalLong peak, PrintWriter err) {
    peak.ifPresent(bytes ->
        err.printf(
            "memory: peak %s, planned %s%n",
            MemoryPlan.gigabytes(bytes), MemoryPlan.gigabytes(planned)));
  }

  private void check(
      FisherTask task, Supplier<FisherEstimator> estimators, long[] rows, PrintWriter out) {
    if (rows.length < 2) {
      throw new InputException("--check: compares batch sizes, which takes at least two examples");
    }
    BatchSizeCheck.Deviation deviation =
        BatchSizeCheck.run(
            estimators,
            (first, count) -> task.forward(Arrays.copyOfRange(rows, first, first + count)),
            rows.length,
            task.labels(rows, rule));
    out.printf(
        Locale.ROOT,
        "check: %d examples in one batch or in batches of %d differ by %.2g at most, relative to"
            + " the largest value of %s%n",
        rows.length,
        BatchSizeCheck.smaller(rows.length),
        deviation.relative(),
        deviation.tensor());
  }

  /** Data is often stored class by class, and then its first rows stand for few classes. */
  private void warnOfClassOrder(Examples dataset, long[] first, PrintWriter err) {
    if (!dataset.labelled()) {
      return;
    }
    ClassCoverage coverage;
    try {
      coverage = ClassCoverage.of(dataset.labels(), first);
    } catch (InputException e) {
      // A label that cannot be read may be one that the run does not need.
      return;
    }
    if (coverage.poor()) {
      err.printf(
          Locale.ROOT,
          "warning: %s: the first %d examples hold %d of its %d classes, where a random choice holds"
              + " %.1f on average; the data seems to be in order of class: %s takes a random"
              + " choice%n",
          dataset.description(),
          first.length,
          coverage.held(),
          coverage.classes(),
          coverage.classes() - coverage.missedAtRandom(),
          spelling.of("selection", Order.SHUFFLED.text()));
    }
  }
}
