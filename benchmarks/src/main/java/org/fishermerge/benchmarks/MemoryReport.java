package org.fishermerge.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
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
  private static final long INTERVAL_MILLIS = 10;
  private static final Pattern PLAN = Pattern.compile("= ([0-9.]+) GB of [0-9.]+ GB free");
  private static final Pattern OWN_PEAK = Pattern.compile("memory: peak ([0-9.]+) GB");
  private static final Pattern ANONYMOUS = Pattern.compile("RssAnon:\\s+(\\d+) kB");

  private MemoryReport() {}

  /** Prints the report; {@code --quick} runs ViT-B/32 in place of ViT-L/14. */
  public static void main(String[] args) throws IOException, InterruptedException {
    boolean quick = args.length == 1 && args[0].equals("--quick");
    try {
      if (args.length > 0 && !quick) {
        throw new InputException(args[0] + ": expected --quick or nothing");
      }
      report(quick ? ClipShape.B32 : ClipShape.L14);
    } catch (InputException e) {
      System.err.println("benchmarks/run memory: " + e.getMessage());
      System.exit(1);
    }
  }

  /** In GB of 10^9 bytes: what the command planned, what it saw itself, what was seen outside. */
  private record Run(double planned, double own, double peak) {}

  private static void report(ClipShape shape) throws IOException, InterruptedException {
    Report report = new Report();
    Path folder = Files.createTempDirectory("fisher-merge-memory");
    try {
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
        List<String> command = new ArrayList<>(List.of(launcher(), "fisher"));
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
    } finally {
      delete(folder);
    }
    report.finish();
  }

  private static String launcher() {
    return System.getProperty("fishermerge.launcher", "./fisher-merge");
  }

  private static Run run(List<String> command) throws IOException, InterruptedException {
    Path said = Files.createTempFile("fisher-merge-memory", ".txt");
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectError(said.toFile())
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      // The launcher becomes the JVM: one process.
      Path status = Path.of("/proc", Long.toString(process.pid()), "status");
      double peak = 0;
      while (process.isAlive()) {
        peak = Math.max(peak, anonymous(status));
        Thread.sleep(INTERVAL_MILLIS);
      }
      String text = Files.readString(said);
      if (process.waitFor() != 0) {
        throw new InputException("the command failed: " + text.strip());
      }
      return new Run(find(PLAN, text), find(OWN_PEAK, text), peak / 1e9);
    } finally {
      Files.delete(said);
    }
  }

  private static double find(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    if (!matcher.find()) {
      throw new InputException("the command printed no line with " + pattern + ": " + text);
    }
    return Double.parseDouble(matcher.group(1));
  }

  /** Bytes; 0 when the process has just ended. */
  private static double anonymous(Path status) {
    try {
      Matcher line = ANONYMOUS.matcher(Files.readString(status));
      return line.find() ? Double.parseDouble(line.group(1)) * 1024 : 0;
    } catch (IOException e) {
      return 0;
    }
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

  private static void delete(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path path : all.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot delete " + folder, e);
    }
  }
}
