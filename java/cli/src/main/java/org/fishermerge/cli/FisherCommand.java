package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.ClassCoverage;
import org.fishermerge.data.Examples;
import org.fishermerge.data.Selection;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.BatchSizeCheck;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.LabelExpectation;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
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

  private static final String DEFAULT_LABELS = "adaptive:4";
  // Autograd takes every example of a batch through as many passes as the one that needs most.
  private static final String DEFAULT_SCRIPT_LABELS = "lowrank:3";

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "The fine-tuned model: a Hugging Face folder or a .safetensors file.")
  private @Nullable Path model;

  @ArgGroup(exclusive = false)
  private @Nullable HeadOptions head;

  @Mixin private TextOptions text = new TextOptions();
  @Mixin private ScriptOptions script = new ScriptOptions();
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
          "How labels are averaged over, with V or M passes per example: adaptive:V (on average,"
              + " more for unsure examples), lowrank:M, top:M (one more), rademacher:V, sampled:V;"
              + " exact (one per class); argmax, true; or batch-square, which is FusionBench's"
              + " formula (default: "
              + DEFAULT_LABELS
              + "; with --torchscript "
              + DEFAULT_SCRIPT_LABELS
              + "). docs/estimators.md compares them.")
  private @Nullable String labels;

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
    String byDefault = script.file == null ? DEFAULT_LABELS : DEFAULT_SCRIPT_LABELS;
    LabelExpectation rule = LabelExpectation.parse(labels == null ? byDefault : labels);
    if (examples < 1) {
      throw new InputException("--examples " + examples + ": must be at least 1");
    }
    BatchSize.check(batchSize);
    if (check && rule.squaresBatches()) {
      throw new InputException(
          "--check: the estimate of --labels "
              + rule.text()
              + " depends on the batch size by definition; leave the check out");
    }
    // An output that cannot be written is refused before the work, not after it.
    if (script.file != null) {
      requireNoTower();
      try (AtomicOutput output = AtomicOutput.file(out, overwrite)) {
        Path module = script.file;
        ScriptTask.with(
            module, model, script, data, rule, task -> estimate(module, task, rule, output));
      }
    } else {
      Path tower = requireTower();
      ClassifierTasks tasks = new ClassifierTasks(head, text, data);
      try (AtomicOutput output = AtomicOutput.file(out, overwrite)) {
        tasks.with(tower, spec.commandLine(), task -> estimate(tower, task, rule, output));
      }
    }
    return 0;
  }

  private void requireNoTower() {
    if (head != null || text.classifier != null || text.tokenizer != null) {
      throw usage(
          "--torchscript brings its own head: leave --clip, --classes, --heads, --classifier and"
              + " --tokenizer out");
    }
  }

  private Path requireTower() {
    if (script.inputs != null || script.logits != null) {
      throw usage("--inputs and --logits belong to --torchscript, which is missing");
    }
    if (model == null) {
      throw usage("Missing required option: '--model=DIR', or --torchscript=FILE in its place");
    }
    return model;
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  private void estimate(Path of, FisherTask task, LabelExpectation rule, AtomicOutput output) {
    Order order =
        selection != null ? selection : rule.squaresBatches() ? Order.FIRST : Order.SHUFFLED;
    if (rule.needsLabels()) {
      task.requireLabels("--labels " + rule.text());
    }
    if (order == Order.STRATIFIED) {
      task.requireLabels("--selection " + order.text());
    }
    long[] chosen = order.selection(examples, seed).rows(task.examples());
    if (order == Order.FIRST) {
      warnOfClassOrder(task.examples(), chosen);
    }
    long[] rows = task.inRunOrder(chosen, rule);
    PrintWriter err = spec.commandLine().getErr();
    try (Kernels kernels = CommandKernels.open();
        ProcessMemory memory = new ProcessMemory()) {
      long start = System.nanoTime();
      task.prepare(rows, kernels, err);
      Optional<MemoryPlan> plan =
          task.memoryPlan(
              rows,
              () -> new FisherEstimator(task.classifier(), rule, seed, kernels),
              check ? 2 : 1,
              BatchSize.isOne(batchSize) && !check ? 1 : 2);
      int batch = BatchSize.choose(batchSize, plan, rows.length, rule);
      int largest = Math.min(check ? Math.max(batch, 2) : batch, rows.length);
      Optional<MemoryPlan> shown = plan.filter(p -> p.matters(largest));
      shown.ifPresent(p -> announce(p, largest));
      LabelExpectation expectation = calibrated(rule, task, chosen, batch);
      Supplier<FisherEstimator> estimators =
          () -> {
            FisherEstimator estimator =
                new FisherEstimator(task.classifier(), expectation, seed, kernels);
            estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
            return estimator;
          };
      if (check) {
        long before = System.nanoTime();
        check(task, estimators, Arrays.copyOf(rows, largest));
        start += System.nanoTime() - before;
      }
      try (FisherEstimator estimator = estimators.get();
          Progress progress = new Progress(err, "Fisher information", "examples", rows.length, 1)) {
        task.accumulate(rows, batch, expectation, estimator, progress::update);
        task.remark(estimator, err);
        task.write(
            estimator,
            output.temp(),
            new FisherMetadata(
                estimator.examples(),
                expectation.squaresBatches()
                    ? expectation.text() + ":" + batch
                    : expectation.text(),
                task.examples().description(),
                order.text(),
                Long.toString(seed),
                task.modelSha256(),
                task.modelFingerprint(),
                Version.tool()));
        output.commit();
        shown.ifPresent(p -> compare(p.peak(largest), memory.peak()));
        double seconds = (System.nanoTime() - start) / 1e9;
        spec.commandLine()
            .getOut()
            .printf(
                Locale.ROOT,
                "%s: Fisher information of %s over %d examples (%s: %.3g backward passes per"
                    + " example, batches of %d) in %s, %.2f examples/s%n",
                out,
                of,
                estimator.examples(),
                expectation.text(),
                (double) estimator.probes() / estimator.examples(),
                batch,
                Progress.duration(seconds),
                estimator.examples() / seconds);
      }
    }
  }

  /** Fits a rule that asks for it to the model's predictions of the first examples chosen. */
  private static LabelExpectation calibrated(
      LabelExpectation rule, FisherTask task, long[] chosen, int batch) {
    int wanted = Math.min(rule.calibrationExamples(), chosen.length);
    List<double[]> predictions = new ArrayList<>();
    task.forEachBatch(
        task.inRunOrder(Arrays.copyOf(chosen, wanted), rule),
        batch,
        rule,
        (pass, labels) -> predictions.addAll(pass.predictions()));
    return rule.calibrated(predictions);
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

  private void check(FisherTask task, Supplier<FisherEstimator> estimators, long[] rows) {
    if (rows.length < 2) {
      throw new InputException("--check: compares batch sizes, which takes at least two examples");
    }
    BatchSizeCheck.Deviation deviation =
        BatchSizeCheck.run(
            estimators,
            (first, count) -> task.forward(Arrays.copyOfRange(rows, first, first + count)),
            rows.length,
            task.labels(rows));
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

  /** Data is often stored class by class, and then its first rows stand for few classes. */
  private void warnOfClassOrder(Examples dataset, long[] first) {
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
