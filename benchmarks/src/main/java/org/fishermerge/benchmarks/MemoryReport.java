package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;

/**
 * {@code benchmarks/run memory}: runs the {@code fisher} command on a model of a published shape
 * with random weights, and sets the plan it prints beside its anonymous memory as Linux counts it,
 * sampled from outside. For Linux.
 */
public final class MemoryReport {
  private static final int BATCH = 8;
  private static final int CLASSES = 10;
  private static final Pattern PLAN = Pattern.compile("= ([0-9.]+) GB of [0-9.]+ GB free");
  private static final Pattern OWN_PEAK = Pattern.compile("memory: peak ([0-9.]+) GB");

  private MemoryReport() {}

  /** Prints the report; {@code --quick} runs ViT-B/32 in place of ViT-L/14. */
  public static void main(String[] args) throws IOException, InterruptedException {
    try {
      report(ReportOptions.of(args).quick() ? ClipShape.B32 : ClipShape.L14);
    } catch (InputException e) {
      System.err.println("benchmarks/run memory: " + e.getMessage());
      System.exit(1);
    }
  }

  /** In GB of 10^9 bytes: what the command planned, what it saw itself, what was seen outside. */
  private record Run(double planned, double own, double peak) {}

  private static void report(ClipShape shape) throws IOException, InterruptedException {
    Report report = new Report();
    try (ScratchFolder folder = new ScratchFolder()) {
      Path model = shape.write(folder.resolve("model"), 1);
      Path data = writePictures(folder.resolve("data.safetensors"), shape);
      Path head = writeHead(folder.resolve("head.safetensors"), shape);
      Map<String, List<String>> runs = new LinkedHashMap<>();
      runs.put("", List.of("--labels", "sampled:1"));
      runs.put("_default", List.of());
      runs.put("_check", List.of("--labels", "sampled:1", "--check"));
      runs.put("_batch1", List.of("--labels", "sampled:1", "--batch-size", "1"));
      report.line(
          "fisher at %s, %d examples, batches of %d%n%-40s %10s %10s %10s %10s",
          shape.name(), BATCH, BATCH, "options", "plan, GB", "own peak", "peak", "peak/plan");
      for (Map.Entry<String, List<String>> each : runs.entrySet()) {
        List<String> command = new ArrayList<>(List.of(TimedCommand.launcher(), "fisher"));
        command.addAll(List.of("--model", model.toString(), "--clip", model.toString()));
        command.addAll(List.of("--heads", head.toString(), "--data", data.toString()));
        command.addAll(List.of("--examples", Integer.toString(BATCH)));
        if (!each.getValue().contains("--batch-size")) {
          command.addAll(List.of("--batch-size", Integer.toString(BATCH)));
        }
        command.addAll(List.of("--out", folder.resolve("fisher.safetensors").toString()));
        command.add("--overwrite");
        command.addAll(each.getValue());
        Run run = run(command);
        report.line(
            "%-40s %10.2f %10.2f %10.3f %10.3f",
            String.join(" ", each.getValue()),
            run.planned,
            run.own,
            run.peak,
            run.peak / run.planned);
        report.ratio("fisher_memory_" + shape.name() + each.getKey() + "_gb", run.peak);
        report.ratio(
            "fisher_memory_over_plan_" + shape.name() + each.getKey(), run.peak / run.planned);
      }
    }
    report.finish();
  }

  private static Run run(List<String> command) throws IOException, InterruptedException {
    TimedCommand.Outcome outcome = TimedCommand.run(command);
    return new Run(
        find(PLAN, outcome.said()), find(OWN_PEAK, outcome.said()), outcome.anonymousBytes() / 1e9);
  }

  private static double find(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    if (!matcher.find()) {
      throw new InputException("the command printed no line with " + pattern + ": " + text);
    }
    return Double.parseDouble(matcher.group(1));
  }

  private static Path writePictures(Path file, ClipShape shape) {
    List<Long> size = List.of((long) BATCH, 3L, (long) shape.image(), (long) shape.image());
    return write(file, "pixel_values", size);
  }

  private static Path writeHead(Path file, ClipShape shape) {
    return write(file, "zeroshot_weights", List.of((long) CLASSES, (long) shape.projection()));
  }

  private static Path write(Path file, String name, List<Long> size) {
    Random random = new Random(1);
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(
            file, List.of(new SafetensorsWriter.Declared(name, DType.F32, size)), Map.of())) {
      MemorySegment values = writer.segment(name);
      for (long at = 0; at < values.byteSize(); at += Float.BYTES) {
        values.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, (float) random.nextGaussian());
      }
      writer.finish();
    }
    return file;
  }
}
