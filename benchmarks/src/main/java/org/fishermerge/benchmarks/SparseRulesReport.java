package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * The commands that look at task vectors, {@code ties} and {@code dare}, beside {@code average},
 * each in a process of its own, against plain reading of the files they read.
 */
final class SparseRulesReport {
  private static final int MODELS = 8;
  private static final int ROUNDS = 3;

  /** Commands with what they need beyond the models; all else is their default. */
  private static final List<List<String>> COMMANDS =
      List.of(
          List.of("average"),
          List.of("ties", "--density", "0.2"),
          List.of("dare", "--density", "0.2"));

  private SparseRulesReport() {}

  /**
   * Adds a section to a report: ratios {@code ties_over_read} and so on.
   *
   * @param quick for ViT-B/32 in place of ViT-L/14
   */
  static void sections(Report report, boolean quick) throws IOException, InterruptedException {
    ClipShape shape = quick ? ClipShape.B32 : DiskMerge.roomFor(report, MODELS + 3L);
    try (ScratchFolder folder = new ScratchFolder()) {
      Path base = shape.write(folder.resolve("base"), 1);
      Path first = shape.write(folder.resolve("model0"), 2);
      List<String> operands = new ArrayList<>(List.of("--base", base.toString()));
      List<String> read = new ArrayList<>(List.of("sh", "-c", "cat \"$@\" >/dev/null", "cat"));
      read.add(base.resolve("model.safetensors").toString());
      for (int i = 0; i < MODELS; i++) {
        Path model = folder.resolve("model" + i);
        if (i > 0) {
          // Equal values cost as much to merge as other ones; they lie in files of their own.
          DiskMerge.copyFolder(first, model);
        }
        operands.addAll(List.of("--model", model.toString()));
        read.add(model.resolve("model.safetensors").toString());
      }
      Path out = folder.resolve("merged");
      operands.addAll(List.of("--out", out.toString()));
      TimedCommand.run(List.of("sync", "--file-system", folder.path().toString()));

      double[] seconds = new double[COMMANDS.size()];
      Arrays.fill(seconds, Double.POSITIVE_INFINITY);
      double reading = Double.POSITIVE_INFINITY;
      long anonymous = 0;
      for (int round = 0; round <= ROUNDS; round++) {
        double cat = TimedCommand.run(read).seconds();
        for (int c = 0; c < COMMANDS.size(); c++) {
          List<String> command = new ArrayList<>(List.of(TimedCommand.launcher()));
          command.addAll(COMMANDS.get(c));
          command.addAll(operands);
          TimedCommand.Outcome outcome = TimedCommand.run(command);
          ScratchFolder.delete(out);
          if (round > 0) {
            seconds[c] = Math.min(seconds[c], outcome.seconds());
            anonymous = Math.max(anonymous, outcome.anonymousBytes());
          }
        }
        reading = round > 0 ? Math.min(reading, cat) : reading;
      }
      double bytes = shape.parameterCount() * (double) Float.BYTES * (MODELS + 1);
      report.line(
          "%n%d models of %s and their base, %.1f GB in the page cache",
          MODELS, shape.name(), bytes / 1e9);
      report.line("%-24s %10s %8s %10s", "", "seconds", "GB/s", "of reading");
      report.line("%-24s %10.2f %8.2f", "cat of the files", reading, bytes / reading / 1e9);
      for (int c = 0; c < COMMANDS.size(); c++) {
        report.line(
            "%-24s %10.2f %8.2f %10.3f",
            String.join(" ", COMMANDS.get(c)),
            seconds[c],
            bytes / seconds[c] / 1e9,
            reading / seconds[c]);
        report.ratio(
            COMMANDS.get(c).getFirst().toLowerCase(Locale.ROOT) + "_over_read",
            reading / seconds[c]);
      }
      report.line("anonymous memory, peak %13.1f MB", anonymous / 1e6);
      report.ratio("sparse_anonymous_mb", anonymous / 1e6);
    }
  }
}
