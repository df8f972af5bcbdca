package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.data.ClassCoverage;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.Selection;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.BatchSizeCheck;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fisher}: estimates the Fisher information of one model and writes it to a file. */
@Command(
    name = "fisher",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Estimates a model's diagonal Fisher information and writes it to a file.")
final class FisherCommand implements Callable<Integer> {
  private enum Order {
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
    String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private static final int PROBED_EXAMPLES = 2;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The fine-tuned model: a Hugging Face folder or a .safetensors file.")
  private Path model = Path.of("");

  @Mixin private HeadOptions head = new HeadOptions();
  @Mixin private DataOptions data = new DataOptions();

  @Option(
      names = "--examples",
      paramLabel = "N",
      description = "Examples to use; all where the data has fewer (default: ${DEFAULT-VALUE}).")
  private long examples = 256;

  @Option(
      names = "--batch-size",
      paramLabel = "N|auto",
      description = "Examples per forward pass; auto fits free memory (default: ${DEFAULT-VALUE}).")
  private String batchSize = BatchSize.AUTO;

  @Option(
      names = "--labels",
      paramLabel = "RULE",
      description =
          "How labels are averaged over: exact, sampled:V, argmax, true, or batch-square, which is"
              + " FusionBench's formula (default: ${DEFAULT-VALUE}).")
  private String labels = "exact";

  @Option(
      names = "--selection",
      paramLabel = "first|shuffled|stratified",
      description =
          "Which examples: the first rows, a random choice by --seed, or one with as many of each"
              + " class, which gives rare classes more weight than the data does (default:"
              + " shuffled; batch-square: first, as FusionBench does).")
  private @Nullable Order selection;

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "Seeds the selection and drawn labels (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE.safetensors",
      description = "Where the Fisher file goes.")
  private Path out = Path.of("");

  @Option(
      names = "--check",
      description =
          "First compare two batch sizes on one batch, and stop if the model mixes the examples of"
              + " a batch.")
  private boolean check;

  @Option(names = "--overwrite", description = "Replace an existing file.")
  private boolean overwrite;

  @Override
  public Integer call() {
    LabelExpectation expectation = LabelExpectation.parse(labels);
    if (examples < 1) {
      throw new InputException("--examples " + examples + ": must be at least 1");
    }
    BatchSize.check(batchSize);
    if (check && expectation.squaresBatches()) {
      throw new InputException(
          "--check: the estimate of --labels "
              + expectation.text()
              + " depends on the batch size by definition; leave the check out");
    }
    // An output that cannot be written is refused before the work, not after it.
    try (AtomicOutput output = AtomicOutput.file(out, overwrite)) {
      ImageTask.with(model, head, data, task -> estimate(task, expectation, output));
    }
    return 0;
  }

  private void estimate(ImageTask task, LabelExpectation expectation, AtomicOutput output) {
    Order order =
        selection != null ? selection : expectation.squaresBatches() ? Order.FIRST : Order.SHUFFLED;
    if (expectation.needsLabels()) {
      task.requireLabels("--labels " + expectation.text());
    }
    if (order == Order.STRATIFIED) {
      task.requireLabels("--selection " + order.text());
    }
    ImageDataset dataset = task.dataset();
    long count = Math.min(examples, dataset.size());
    long[] rows = order.selection(count, seed).rows(dataset);
    if (order == Order.FIRST) {
      warnOfClassOrder(dataset, rows);
    }
    PrintWriter results = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    try (Kernels kernels = CommandKernels.open()) {
      Supplier<FisherEstimator> estimators =
          () -> {
            FisherEstimator estimator =
                new FisherEstimator(task.classifier(), expectation, seed, kernels);
            estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
            return estimator;
          };
      Optional<MemoryPlan> plan = plan(task, estimators, rows);
      int batch = BatchSize.choose(batchSize, plan, count, expectation);
      plan.ifPresent(p -> announce(p, batch));
      if (check) {
        check(task, estimators, Arrays.copyOf(rows, Math.min(rows.length, Math.max(batch, 2))));
      }
      long start = System.nanoTime();
      try (ProcessMemory memory = new ProcessMemory();
          FisherEstimator estimator = estimators.get();
          Progress progress = new Progress(err, "Fisher information", "examples", count, 1);
          BatchIterator batches = dataset.batches(rows, batch, data.workers)) {
        while (batches.hasNext()) {
          try (ImageBatch pictures = batches.next()) {
            task.requireShape(pictures);
            try (ForwardPass pass =
                task.classifier().forward(pictures.pixels(), pictures.count())) {
              estimator.add(pass, pictures.labelled() ? pictures.labels() : null);
            }
          }
          progress.update(estimator.examples());
        }
        estimator.write(
            output.temp(),
            task.model(),
            new FisherMetadata(
                estimator.examples(),
                expectation.squaresBatches()
                    ? expectation.text() + ":" + batch
                    : expectation.text(),
                dataset.description(),
                order.text(),
                Long.toString(seed),
                task.model().tensorSha256(),
                task.model().fingerprint(),
                Version.tool()));
        output.commit();
        plan.ifPresent(p -> compare(p.peak(batch), memory.peak()));
        double seconds = (System.nanoTime() - start) / 1e9;
        results.printf(
            Locale.ROOT,
            "%s: Fisher information of %s over %d examples (%s, batches of %d) in %s, %.2f"
                + " examples/s%n",
            out,
            model,
            estimator.examples(),
            expectation.text(),
            batch,
            Progress.duration(seconds),
            estimator.examples() / seconds);
      }
    }
  }

  /** Runs two examples for what a batch takes; empty where the system does not say. */
  private Optional<MemoryPlan> plan(
      ImageTask task, Supplier<FisherEstimator> estimators, long[] rows) {
    long[] some = Arrays.copyOf(rows, Math.min(rows.length, PROBED_EXAMPLES));
    try (FisherEstimator estimator = estimators.get();
        BatchIterator batches = task.dataset().batches(some, some.length, 0);
        ImageBatch pictures = batches.next()) {
      task.requireShape(pictures);
      Optional<BatchMemory> batch =
          estimator.measure(() -> task.classifier().forward(pictures.pixels(), pictures.count()));
      OptionalLong used = ProcessMemory.used();
      if (batch.isEmpty() || used.isEmpty()) {
        return Optional.empty();
      }
      long fisher = estimator.bytes();
      long rest = Math.max(0, used.getAsLong() - 2 * fisher - pictures.pixels().byteSize());
      return Optional.of(
          new MemoryPlan(
              fisher, // as many weights, all of them fp32
              // The check has two estimates at a time.
              check ? 2 * fisher : fisher,
              batch.get(),
              pictures.pixels().byteSize() / pictures.count(),
              data.workers,
              rest,
              used.getAsLong() + ProcessMemory.free()));
    }
  }

  private void announce(MemoryPlan plan, int batch) {
    PrintWriter err = spec.commandLine().getErr();
    err.println("memory: " + plan.text(batch));
    if (plan.peak(batch) > plan.free()) {
      err.println(
          batch == 1
              ? "warning: one example needs more memory than is free; end other programs"
              : "warning: batches of "
                  + batch
                  + " need more memory than is free; take a smaller --batch-size");
    }
  }

  private void compare(long planned, OptionalLong peak) {
    peak.ifPresent(bytes ->
        spec.commandLine()
            .getErr()
            .printf(
                "memory: peak %s, planned %s%n",
                MemoryPlan.gigabytes(bytes), MemoryPlan.gigabytes(planned)));
  }

  private void check(ImageTask task, Supplier<FisherEstimator> estimators, long[] rows) {
    if (rows.length < 2) {
      throw new InputException("--check: compares batch sizes, which takes at least two examples");
    }
    try (BatchIterator batches = task.dataset().batches(rows, rows.length, data.workers);
        ImageBatch pictures = batches.next()) {
      task.requireShape(pictures);
      long bytes = pictures.pixels().byteSize() / pictures.count();
      BatchSizeCheck.Deviation deviation =
          BatchSizeCheck.run(
              estimators,
              (first, count) ->
                  task.classifier()
                      .forward(pictures.pixels().asSlice(first * bytes, count * bytes), count),
              pictures.count(),
              pictures.labelled() ? pictures.labels() : null);
      spec.commandLine()
          .getOut()
          .printf(
              Locale.ROOT,
              "check: %d examples in one batch or in batches of %d differ by %.2g at most, relative"
                  + " to the largest value of %s%n",
              rows.length,
              BatchSizeCheck.smaller(rows.length),
              deviation.relative(),
              deviation.tensor());
    }
  }

  /** Data is often stored class by class, and then its first rows stand for few classes. */
  private void warnOfClassOrder(ImageDataset dataset, long[] first) {
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
      spec.commandLine()
          .getErr()
          .printf(
              Locale.ROOT,
              "warning: %s: the first %d examples hold %d of its %d classes, where a random choice"
                  + " holds %.1f on average; the data seems to be in order of class:"
                  + " --selection shuffled takes a random choice%n",
              dataset.description(),
              first.length,
              coverage.held(),
              coverage.classes(),
              coverage.classes() - coverage.missedAtRandom());
    }
  }
}
