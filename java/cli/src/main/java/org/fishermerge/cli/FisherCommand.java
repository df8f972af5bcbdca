package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.Selection;
import org.fishermerge.data.TensorExamples;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.ClipClassifier;
import org.fishermerge.torch.ClipVisionTower;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.fishermerge.torch.ScriptClassifier;
import org.fishermerge.torch.ZeroShotHead;
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
    SHUFFLED
  }

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "The fine-tuned model: a Hugging Face folder or a .safetensors file.")
  private @Nullable Path model;

  @ArgGroup(exclusive = false)
  private @Nullable HeadOptions head;

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
          "How labels are averaged over: exact, sampled:V, argmax, true, or batch-square, which is"
              + " FusionBench's formula (default: ${DEFAULT-VALUE}).")
  private String labels = "exact";

  @Option(
      names = "--selection",
      paramLabel = "first|shuffled",
      description =
          "Which examples: the first rows, or a random choice by --seed (default: shuffled;"
              + " batch-square: first, as FusionBench does).")
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

  @Option(names = "--overwrite", description = "Replace an existing file.")
  private boolean overwrite;

  @Override
  public Integer call() {
    LabelExpectation expectation = LabelExpectation.parse(labels);
    if (examples < 1) {
      throw new InputException("--examples " + examples + ": must be at least 1");
    }
    if (script.file != null) {
      requireNoTower();
      estimate(script.file, expectation);
    } else {
      estimate(requireTower(), requireHead(), expectation);
    }
    return 0;
  }

  private void requireNoTower() {
    if (head != null) {
      throw usage("--torchscript brings its own head: leave --clip, --classes and --heads out");
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

  private HeadOptions requireHead() {
    if (head == null) {
      throw usage("Missing required options: '--clip=DIR' and '--classes' or '--heads'");
    }
    return head;
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  private boolean takesFirst(LabelExpectation expectation) {
    return selection == null ? expectation.squaresBatches() : selection == Order.FIRST;
  }

  private Selection selection(long count, LabelExpectation expectation) {
    return takesFirst(expectation)
        ? new Selection.First(count)
        : new Selection.Shuffled(count, seed);
  }

  private static void requireLabels(
      LabelExpectation expectation, boolean labelled, String description) {
    if (expectation.needsLabels() && !labelled) {
      throw new InputException(
          description + ": has no labels, and --labels " + expectation.text() + " needs them");
    }
  }

  /** An image tower under a zero-shot head. */
  private void estimate(Path tower, HeadOptions head, LabelExpectation expectation) {
    try (AtomicOutput output = AtomicOutput.file(out, overwrite);
        Checkpoint checkpoint = Checkpoint.open(tower);
        Checkpoint clip = Checkpoint.open(head.clip);
        ClipVisionTower loaded = ClipVisionTower.load(checkpoint);
        ImageDataset dataset = data.open(clip, loaded.config());
        ZeroShotHead zeroShot = head.load(clip);
        Kernels kernels = CommandKernels.open()) {
      requireLabels(expectation, dataset.labelled(), dataset.description());
      ClipClassifier classifier = new ClipClassifier(loaded, zeroShot);
      long count = Math.min(examples, dataset.size());
      int batch = BatchSize.choose(batchSize, classifier, count, expectation);
      Selection chosen = selection(count, expectation);
      long start = System.nanoTime();
      try (FisherEstimator estimator = new FisherEstimator(classifier, expectation, seed, kernels);
          Progress progress = progress(count);
          BatchIterator batches = dataset.batches(chosen, batch, data.workers)) {
        long[] rows = chosen.indices(dataset.size());
        estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
        while (batches.hasNext()) {
          try (ImageBatch pictures = batches.next()) {
            DataOptions.requireShape(
                data.source,
                pictures.channels(),
                pictures.height(),
                pictures.width(),
                loaded.config());
            try (ForwardPass pass = classifier.forward(pictures.pixels(), pictures.count())) {
              estimator.add(pass, pictures.labelled() ? pictures.labels() : null);
            }
          }
          progress.update(estimator.examples());
        }
        estimator.write(
            output.temp(),
            checkpoint,
            metadata(
                estimator.examples(),
                expectation,
                batch,
                dataset.description(),
                checkpoint.tensorSha256(),
                checkpoint.fingerprint()));
        output.commit();
        report(tower, estimator.examples(), expectation, batch, start);
      }
    }
  }

  /** A TorchScript module. */
  private void estimate(Path module, LabelExpectation expectation) {
    PrintWriter err = spec.commandLine().getErr();
    try (AtomicOutput output = AtomicOutput.file(out, overwrite);
        TensorExamples tensors = script.open(data.source);
        Kernels kernels = CommandKernels.open()) {
      requireLabels(expectation, tensors.labelled(), tensors.description());
      ScriptTask task =
          new ScriptTask(ScriptClassifier.load(module, script.logits, expectation), tensors);
      ScriptClassifier classifier = task.classifier();
      try (Checkpoint source = ScriptTask.source(model, classifier)) {
        long count = Math.min(examples, tensors.size());
        long[] rows = selection(count, expectation).indices(tensors.size());
        long start = System.nanoTime();
        task.prepare(rows, kernels, err);
        int batch = BatchSize.choose(batchSize, classifier.bytesPerExample(), count, expectation);
        try (FisherEstimator estimator =
                new FisherEstimator(classifier, expectation, seed, kernels);
            Progress progress = progress(count)) {
          estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
          task.run(rows, batch, estimator, progress::update);
          task.listZeros(estimator, err);
          estimator.write(
              output.temp(),
              classifier,
              source,
              metadata(
                  estimator.examples(),
                  expectation,
                  batch,
                  tensors.description(),
                  source == null ? classifier.tensorSha256() : source.tensorSha256(),
                  source == null ? classifier.fingerprint() : source.fingerprint()));
          output.commit();
          report(module, estimator.examples(), expectation, batch, start);
        }
      }
    }
  }

  private Progress progress(long count) {
    return new Progress(spec.commandLine().getErr(), "Fisher information", "examples", count, 1);
  }

  private FisherMetadata metadata(
      long counted,
      LabelExpectation expectation,
      int batch,
      String dataset,
      String modelSha256,
      String modelFingerprint) {
    return new FisherMetadata(
        counted,
        expectation.squaresBatches() ? expectation.text() + ":" + batch : expectation.text(),
        dataset,
        takesFirst(expectation) ? "first" : "shuffled",
        Long.toString(seed),
        modelSha256,
        modelFingerprint,
        Version.tool());
  }

  private void report(
      Path estimated, long counted, LabelExpectation expectation, int batch, long start) {
    double seconds = (System.nanoTime() - start) / 1e9;
    spec.commandLine()
        .getOut()
        .printf(
            Locale.ROOT,
            "%s: Fisher information of %s over %d examples (%s, batches of %d) in %s, %.2f"
                + " examples/s%n",
            out,
            estimated,
            counted,
            expectation.text(),
            batch,
            Progress.duration(seconds),
            counted / seconds);
  }
}
