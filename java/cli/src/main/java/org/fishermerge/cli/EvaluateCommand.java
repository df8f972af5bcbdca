package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.cli.report.Intervals;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.SkippedRowsReport;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.data.Examples;
import org.fishermerge.data.Selection;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.estimate.Evaluation;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.torch.Accuracy;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code evaluate}: accuracy and loss of a model on labelled pictures or texts. */
@Command(
    name = "evaluate",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Measures a model's accuracy and loss on labelled pictures or texts.")
final class EvaluateCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "The model: a Hugging Face folder or a .safetensors file; BASE+ADAPTER for a LoRA adapter.")
  private Path model = Path.of("");

  @ArgGroup(exclusive = false)
  private @Nullable HeadOptions head;

  @Mixin private TextOptions text = new TextOptions();
  @Mixin private DataOptions data = new DataOptions();
  @Mixin private DeviceOption device = new DeviceOption();
  @Mixin private DifferenceOptions different = new DifferenceOptions();

  @Option(
      names = "--examples",
      paramLabel = "N",
      description = "Use only the first N examples (default: all).")
  private long examples = Long.MAX_VALUE;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      description =
          "Examples per forward pass (default: ${DEFAULT-VALUE}). The loss is the mean of batch"
              + " means, as FusionBench reports it.")
  private int batchSize = 128;

  @Mixin private ReportOption reports = new ReportOption();

  @Option(
      names = "--outputs",
      paramLabel = "FILE.safetensors",
      description = "Write logits [N, classes] and, for a CLIP, zeroshot_weights [classes, width].")
  private @Nullable Path outputs;

  @Option(names = "--overwrite", description = "Replace existing output files.")
  private boolean overwrite;

  @Override
  public Integer call() {
    if (batchSize < 1) {
      throw new InputException("--batch-size " + batchSize + ": must be at least 1");
    }
    if (examples < 1) {
      throw new InputException("--examples " + examples + ": must be at least 1");
    }
    BadRows badRows = data.badRows();
    CommandDevice.forModels(device.name, new Warnings(spec.commandLine().getErr()));
    Warnings warnings = new Warnings(spec.commandLine().getErr());
    List<Path> written = Stream.concat(reports.files.stream(), Stream.ofNullable(outputs)).toList();
    AtomicOutput.requireDistinct(written);
    ClassifierOpener tasks = new ClassifierOpener(head, text, data, different.keys, warnings);
    // Outputs that cannot be written are refused before the work, not after it.
    try (Places places = new Places(spec);
        CommandReport report = CommandReport.open(reports.files, spec, overwrite);
        AtomicOutput outputsFile = outputs == null ? null : AtomicOutput.file(outputs, overwrite);
        Progress loading = Progress.passing(spec.commandLine().getErr(), "Loading " + model)) {
      Path found = places.model(model);
      tasks.locate(places);
      List<Path> read = new InputPaths().add(found).add(head).add(text).add(data.source).all();
      written.forEach(output -> AtomicOutput.requireNoInput(output, read));
      tasks.with(
          found,
          spec.commandLine(),
          task -> evaluate(task, new SkippedRows(badRows, warnings), report, outputsFile));
    }
    return 0;
  }

  private void evaluate(
      ClassifierOnData task,
      SkippedRows skipped,
      @Nullable CommandReport report,
      @Nullable AtomicOutput outputsFile) {
    long[] rows = new Selection.First(examples).rows(task.examples());
    if (outputs != null) {
      SafetensorsWriter.requireRoom(
          outputs, (long) rows.length * task.classifier().classCount() * Float.BYTES);
    }
    if (report != null) {
      report.stages().begin();
    }
    List<float[]> logits = new ArrayList<>();
    Accuracy accuracy;
    try (Progress progress =
        new Progress(spec.commandLine().getErr(), "Evaluating", "examples", rows.length, 1)) {
      accuracy =
          Evaluation.run(
              task,
              rows,
              batchSize,
              (ofBatch, labels) -> {
                if (outputsFile != null) {
                  logits.add(ofBatch);
                }
              },
              skipped,
              progress::update);
    }
    spec.commandLine()
        .getOut()
        .printf(
            Locale.ROOT,
            "%s: accuracy %.4f (%d of %d%s; 95 %% interval %.4f to %.4f), loss %.6f%n",
            model,
            accuracy.accuracy(),
            accuracy.correct(),
            accuracy.examples(),
            skipped.text(),
            accuracy.interval().low(),
            accuracy.interval().high(),
            accuracy.loss());
    if (report != null) {
      report.stages().end("evaluation");
      tell(report, task.examples(), accuracy, skipped);
    }
    if (outputsFile != null) {
      writeOutputs(outputsFile, task, logits, accuracy.examples());
    }
  }

  private void tell(
      CommandReport report, Examples dataset, Accuracy accuracy, SkippedRows skipped) {
    ObjectNode json =
        JsonReport.object()
            .put("model", model.toString())
            .put("data", dataset.description())
            .put("accuracy", accuracy.accuracy())
            .put("loss", accuracy.loss())
            .put("correct", accuracy.correct())
            .put("examples", accuracy.examples());
    JsonReport.addInterval(accuracy, json);
    SkippedRowsReport.add(skipped, json);
    String name = TaskNames.of(List.of(model)).getFirst();
    report
        .builder()
        .model(ReportBuilder.model(name, model, false))
        .accuracies(
            Intervals.complete(
                List.of(dataset.description()),
                List.of(Intervals.row(name, Role.THIS, List.of(Intervals.measure(accuracy))))));
    report.publish(json);
  }

  private void writeOutputs(
      AtomicOutput output, ClassifierOnData task, List<float[]> logits, long rows) {
    List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
    tensors.add(
        new SafetensorsWriter.Declared(
            "logits", DType.F32, List.of(rows, (long) task.classifier().classCount())));
    task.zeroShotHead()
        .ifPresent(zeroShot -> {
          long classes = zeroShot.classCount();
          tensors.add(
              new SafetensorsWriter.Declared(
                  HeadOptions.WEIGHTS,
                  DType.F32,
                  List.of(classes, zeroShot.weights().length / classes)));
        });
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(output.temp(), tensors, Map.of("model", model.toString()))) {
      long offset = 0;
      for (float[] batch : logits) {
        MemorySegment source = MemorySegment.ofArray(batch);
        writer.segment("logits").asSlice(offset, source.byteSize()).copyFrom(source);
        offset += source.byteSize();
      }
      task.zeroShotHead()
          .ifPresent(zeroShot ->
              writer
                  .segment(HeadOptions.WEIGHTS)
                  .copyFrom(MemorySegment.ofArray(zeroShot.weights())));
      writer.finish();
    }
    output.commit();
  }
}
