package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.task.EstimationPrinter;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.data.LabelMap;
import org.fishermerge.estimate.BatchSize;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.estimate.Estimation;
import org.fishermerge.estimate.EstimationSettings;
import org.fishermerge.estimate.ExampleCount;
import org.fishermerge.estimate.FisherCache;
import org.fishermerge.estimate.ModelSource;
import org.fishermerge.estimate.ScriptOnData;
import org.fishermerge.estimate.SharedDevice;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code fisher}: estimates the Fisher information, or Gram matrices, of one model. */
@Command(
    name = "fisher",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Estimates a model's Fisher information, or the Gram matrices of its layers' inputs, and"
            + " writes them to a file.")
final class FisherCommand implements Callable<Integer> {
  // Autograd takes every example of a batch through as many passes as the one that needs most.
  private static final String DEFAULT_SCRIPT_LABELS = "lowrank:3";

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "The fine-tuned model: a Hugging Face folder or a .safetensors file; BASE+ADAPTER for a"
              + " LoRA adapter.")
  private @Nullable Path model;

  @ArgGroup(exclusive = false)
  private @Nullable HeadOptions head;

  @Mixin private TextOptions text = new TextOptions();
  @Mixin private ScriptOptions script = new ScriptOptions();
  @Mixin private DataOptions data = new DataOptions();
  @Mixin private DeviceOption device = new DeviceOption();
  @Mixin private DifferenceOptions different = new DifferenceOptions();

  @Option(
      names = "--precision",
      paramLabel = "fp32|tf32|bf16",
      description =
          "What the model is multiplied in; the Fisher is summed in fp32 (default:"
              + " ${DEFAULT-VALUE}). tf32 is of GPUs.")
  private String precision = "fp32";

  @Option(
      names = "--examples",
      paramLabel = "N|auto[:PERCENT]",
      description =
          "Examples to use; all where the data has fewer (default: ${DEFAULT-VALUE}). auto:10 goes"
              + " on until the standard error of the Fisher that comes from their choice is 10 %%, or"
              + " 16384 are used.")
  private String examples = Long.toString(EstimationSettings.DEFAULT_EXAMPLES);

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
              + EstimationSettings.DEFAULT_LABELS
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
  private EstimationSettings.@Nullable Order selection;

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "Seeds the selection and drawn labels (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE.safetensors",
      description = "Where the statistic file goes.")
  private Path out = Path.of("");

  @Option(
      names = "--with-head",
      description =
          "Estimate the Fisher of the classification head too, where the model has one of its own.")
  private boolean withHead;

  @Option(
      names = "--statistic",
      paramLabel = "KIND[,KIND...]",
      description =
          "What is estimated: diagonal, the Fisher of each parameter; kronecker, the Fisher of each"
              + " linear layer as two factors, for merge --rule kronecker; gram, the Gram matrix of"
              + " each linear layer's inputs, for merge --rule regmean, which takes no backward"
              + " passes and no --labels; or several, in one file and in the same passes (default:"
              + " ${DEFAULT-VALUE}).")
  private String statistic = "diagonal";

  @Option(
      names = "--check",
      description =
          "First compare two batch sizes on one batch, and stop if the model mixes the examples of"
              + " a batch.")
  private boolean check;

  @Option(names = "--overwrite", description = "Replace an existing file.")
  private boolean overwrite;

  private Set<StatisticKind> statistics() {
    Set<StatisticKind> kinds = EnumSet.noneOf(StatisticKind.class);
    for (String label : statistic.split(",", -1)) {
      kinds.add(
          StatisticKind.of(label)
              .orElseThrow(() ->
                  usage(
                      "--statistic "
                          + statistic
                          + ": expected one or several of "
                          + StatisticKind.labels()
                          + ", separated by commas")));
    }
    if (labels != null && !StatisticKind.anyDependsOnLabels(kinds)) {
      throw usage(
          "--labels "
              + labels
              + ": --statistic "
              + statistic
              + " does not depend on labels; leave --labels out");
    }
    return kinds;
  }

  private CommandDevice device() {
    if (script.file != null && device.name != null && !device.name.equals("cpu")) {
      throw usage("--device cuda does not run --torchscript modules; leave it out");
    }
    Precision parsed = Precision.parse(precision, "--precision");
    if (script.file != null && parsed != Precision.FP32) {
      throw usage(
          "--torchscript modules run in the precision that they were saved in: leave"
              + " --precision out");
    }
    return CommandDevice.forModels(device.name, parsed, new Warnings(spec.commandLine().getErr()));
  }

  @Override
  public Integer call() {
    String byDefault =
        script.file == null ? EstimationSettings.DEFAULT_LABELS : DEFAULT_SCRIPT_LABELS;
    Set<StatisticKind> statistics = statistics();
    boolean dependsOnLabels = StatisticKind.anyDependsOnLabels(statistics);
    Objective rule = Objective.parse(labels == null ? byDefault : labels);
    CommandDevice device = device();
    EstimationSettings.Spelling spelling =
        (setting, value) -> ("--" + setting + " " + value).strip();
    EstimationSettings settings =
        new EstimationSettings(
            rule,
            selection,
            exampleCount(spelling),
            seed,
            batchSize,
            Integer.MAX_VALUE,
            check,
            device.precision(),
            statistics,
            data.badRows(),
            spelling);
    AtomicOutput.requireNoInput(
        out,
        new InputPaths().add(model).add(script.file).add(head).add(text).add(data.source).all());
    Path of = script.file == null ? requireTower() : script.file;
    if (script.file != null) {
      requireNoTower();
    }
    PrintWriter results = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    Estimation.Result result;
    try (Places places = new Places(spec)) {
      result =
          Estimation.of(script.file == null ? classifier(of, places) : module(of, rule, places))
              .settings(settings)
              .device(new SharedDevice(device))
              .listener(
                  new EstimationPrinter(FisherCache.title(settings.statistics()), results, err))
              .output(out)
              .overwrite(overwrite)
              .build()
              .run();
    }
    results.printf(
        Locale.ROOT,
        "%s: %s of %s over %d examples%s (%sbatches of %d) in %s, %.2f examples/s%n",
        out,
        FisherCache.title(settings.statistics()),
        of,
        result.examples(),
        result.skipped().text(),
        dependsOnLabels
            ? String.format(
                Locale.ROOT,
                "%s: %.3g backward passes per example, ",
                result.rule().text(),
                result.probesPerExample())
            : "",
        result.batch(),
        Progress.duration(result.seconds()),
        result.examples() / result.seconds());
    if (result.samplingError().isPresent()) {
      printError(results, result.samplingError().getAsDouble(), settings.examples());
    } else if (settings.examples().isAuto()) {
      results.printf(
          "sampling error: cannot be told from %d example%s%n",
          result.examples(), result.examples() == 1 ? "" : "s");
    }
    return 0;
  }

  private ExampleCount exampleCount(EstimationSettings.Spelling spelling) {
    try {
      return ExampleCount.parse(examples, spelling);
    } catch (InputException e) {
      throw usage(String.valueOf(e.getMessage()));
    }
  }

  private static void printError(PrintWriter results, double error, ExampleCount asked) {
    results.printf(
        Locale.ROOT,
        "sampling error: %.2g %% (relative standard error that comes from the choice"
            + " of examples)%s%n",
        100 * error,
        asked.isAuto() && error > asked.error()
            ? String.format(Locale.ROOT, "; %.3g %% takes more examples", 100 * asked.error())
            : "");
  }

  private ModelSource module(Path module, Objective rule, Places places) {
    return (warnings, work) -> {
      try (Progress loading = Progress.passing(spec.commandLine().getErr(), "Loading " + module)) {
        Path source = model == null ? null : places.model(model);
        ScriptOnData.with(
            module, source, script.logits, () -> script.open(data.source), rule, work::accept);
      }
    };
  }

  private ModelSource classifier(Path tower, Places places) {
    return (warnings, work) -> {
      ClassifierOpener tasks =
          new ClassifierOpener(
              head,
              text,
              data,
              different.keys,
              withHead,
              new Warnings(spec.commandLine().getErr()));
      try (Progress loading = Progress.passing(spec.commandLine().getErr(), "Loading " + tower)) {
        tasks.locate(places);
        tasks.with(places.model(tower), spec.commandLine(), work::accept);
      }
    };
  }

  private void requireNoTower() {
    if (head != null || text.classifier != null || text.tokenizer != null) {
      throw usage(
          "--torchscript brings its own head: leave --clip, --classes, --heads, --classifier and"
              + " --tokenizer out");
    }
    if (withHead) {
      throw usage("--torchscript modules are studied whole: leave --with-head out");
    }
    if (data.columns != null || data.matching() != LabelMap.Matching.AUTO) {
      throw usage(
          "--torchscript takes tensors, without columns or names of classes: leave --columns and"
              + " --match-classes out");
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
}
