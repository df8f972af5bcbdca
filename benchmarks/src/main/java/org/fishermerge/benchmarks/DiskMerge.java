package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;

/** The {@code merge} command in a process of its own, on files that lie in the page cache. */
final class DiskMerge {
  private static final int ROUNDS = 3;
  private static final int REPORT_BLOCKS = 12;
  private static final int REPORT_BLOCKS_QUICK = 5;
  private static final Pattern PLANNED = Pattern.compile("memory +([0-9,]+) bytes");
  private static final Pattern AVAILABLE = Pattern.compile("MemAvailable:\\s+(\\d+) kB");

  private DiskMerge() {}

  /**
   * A large pool against reading and copying its files, and with a report against without; and how
   * long a tiny one takes.
   */
  static void largeAndSmall(Report report, boolean quick, int models)
      throws IOException, InterruptedException {
    long jvm = small(report);
    large(report, quick, models, jvm);
  }

  /**
   * The largest shape for which the page cache and the disk hold so many files of a model's size:
   * all inputs and two outputs.
   */
  static ClipShape roomFor(Report report, long files) throws IOException {
    long needed = ClipShape.L14.parameterCount() * Float.BYTES * files;
    try (ScratchFolder folder = new ScratchFolder()) {
      long disk = Files.getFileStore(folder.path()).getUsableSpace();
      Matcher line = AVAILABLE.matcher(Files.readString(Path.of("/proc/meminfo")));
      long memory = line.find() ? 1024 * Long.parseLong(line.group(1)) : 0;
      if (Math.min(disk, memory) > needed) {
        return ClipShape.L14;
      }
      report.line(
          "%nViT-B/32 in place of ViT-L/14: that needs %.0f GB of memory and of disk under %s;"
              + " free are %.0f GB and %.0f GB",
          needed / 1e9, System.getProperty("java.io.tmpdir"), memory / 1e9, disk / 1e9);
      return ClipShape.B32;
    }
  }

  private static void large(Report report, boolean quick, int models, long jvm)
      throws IOException, InterruptedException {
    ClipShape shape = quick ? ClipShape.B32 : roomFor(report, 2L * models + 2);
    try (ScratchFolder folder = new ScratchFolder()) {
      List<String> merge = new ArrayList<>(List.of(TimedCommand.launcher(), "merge"));
      List<String> read = new ArrayList<>(List.of("sh", "-c", "cat \"$@\" >/dev/null", "cat"));
      Path firstModel = shape.write(folder.resolve("model0"), 1);
      merge.addAll(List.of("--base", firstModel.toString()));
      Path firstFisher = shape.writeFisher(folder.resolve("fisher0.safetensors"), 1);
      for (int i = 0; i < models; i++) {
        Path model = folder.resolve("model" + i);
        Path fisher = folder.resolve("fisher" + i + ".safetensors");
        if (i > 0) {
          // Equal values cost as much to merge as other ones; they lie in files of their own.
          copyFolder(firstModel, model);
          Files.copy(firstFisher, fisher);
        }
        merge.addAll(List.of("--model", model.toString(), "--fisher", fisher.toString()));
        read.add(model.resolve("model.safetensors").toString());
        read.add(fisher.toString());
      }
      Path out = folder.resolve("merged");
      merge.addAll(List.of("--out", out.toString()));
      Path merged = out.resolve("model.safetensors");
      Path copy = folder.resolve("copy");
      TimedCommand.run(List.of("sync", "--file-system", folder.path().toString()));

      long planned = planned(merge);

      double merging = Double.POSITIVE_INFINITY;
      double reading = Double.POSITIVE_INFINITY;
      double copying = Double.POSITIVE_INFINITY;
      double syncing = Double.POSITIVE_INFINITY;
      long anonymous = 0;
      for (int round = 0; round <= ROUNDS; round++) {
        TimedCommand.Outcome ours = TimedCommand.run(merge);
        double cat = TimedCommand.run(read).seconds();
        double cp = TimedCommand.run(List.of("cp", merged.toString(), copy.toString())).seconds();
        double sync = TimedCommand.run(List.of("sync", copy.toString())).seconds();
        Files.delete(copy);
        ScratchFolder.delete(out);
        if (round > 0) {
          merging = Math.min(merging, ours.seconds());
          reading = Math.min(reading, cat);
          copying = Math.min(copying, cp);
          syncing = Math.min(syncing, sync);
          anonymous = Math.max(anonymous, ours.anonymousBytes());
        }
      }
      double bytes = shape.parameterCount() * (double) Float.BYTES * 2 * models;
      report.line(
          "%n%d models of %s with Fishers, %.1f GB in the page cache, seconds",
          models, shape.name(), bytes / 1e9);
      report.line("%-42s %10.2f %8.2f GB/s", "the merge command", merging, bytes / merging / 1e9);
      report.line("%-42s %10.2f %8.2f GB/s", "cat of its files", reading, bytes / reading / 1e9);
      report.line("%-42s %10.2f", "cp of its output", copying);
      report.line("%-42s %10.2f", "sync of that copy, as merge does", syncing);
      report.line(
          "%-42s %10.1f MB, planned %.1f MB beyond the JVM's own %.1f MB",
          "merge's anonymous memory, peak", anonymous / 1e6, planned / 1e6, jvm / 1e6);
      report.ratio("merge_disk_over_copy", (reading + copying) / merging);
      report.ratio("merge_disk_over_synced_copy", (reading + copying + syncing) / merging);
      report.ratio("merge_anonymous_mb", anonymous / 1e6);
      report.ratio("merge_anonymous_over_plan", anonymous / (double) (jvm + planned));
      withReport(report, merge, out, quick ? REPORT_BLOCKS_QUICK : REPORT_BLOCKS);
    }
  }

  /** What a page costs: blocks of a merge without, one with it, and one without again. */
  private static void withReport(Report report, List<String> merge, Path out, int blocks)
      throws IOException, InterruptedException {
    Path page = out.resolveSibling("report.html");
    List<String> reported = new ArrayList<>(merge);
    reported.addAll(List.of("--report", page.toString()));
    double[][] without = new double[blocks][2];
    double[] with = new double[blocks];
    for (int block = 0; block < blocks; block++) {
      without[block][0] = seconds(merge, out);
      with[block] = seconds(reported, out);
      Files.delete(page);
      without[block][1] = seconds(merge, out);
    }
    PairedRatios ratios = PairedRatios.of(without, with, 1);
    report.line(
        "%-42s %10.3f, 95 %% interval %.3f to %.3f; without it over itself %.3f to %.3f",
        "time with --report FILE.html over without",
        ratios.change().median(),
        ratios.change().low(),
        ratios.change().high(),
        ratios.twice().low(),
        ratios.twice().high());
    report.ratio("merge_with_report_over_without", ratios.change().median());
  }

  private static double seconds(List<String> merge, Path out)
      throws IOException, InterruptedException {
    double seconds = TimedCommand.run(merge).seconds();
    ScratchFolder.delete(out);
    return seconds;
  }

  /**
   * The tiny models of the tests, with random Fishers.
   *
   * @return the anonymous memory it took, in bytes: the JVM's own
   */
  private static long small(Report report) throws IOException, InterruptedException {
    Path golden = Path.of(System.getProperty("fishermerge.golden", "golden")).resolve("clip-tiny");
    try (ScratchFolder folder = new ScratchFolder()) {
      List<String> merge = new ArrayList<>(List.of(TimedCommand.launcher(), "merge"));
      merge.addAll(List.of("--base", golden.resolve("pretrained").toString()));
      for (String name : List.of("alpha", "beta")) {
        Path model = golden.resolve(name);
        Path fisher = folder.resolve(name + ".safetensors");
        RandomTensors.writeFisher(fisher, shapes(model), 1);
        merge.addAll(List.of("--model", model.toString(), "--fisher", fisher.toString()));
      }
      Path out = folder.resolve("merged");
      merge.addAll(List.of("--out", out.toString()));
      double best = Double.POSITIVE_INFINITY;
      long anonymous = 0;
      for (int round = 0; round <= 2 * ROUNDS; round++) {
        TimedCommand.Outcome outcome = TimedCommand.run(merge);
        ScratchFolder.delete(out);
        best = Math.min(best, outcome.seconds());
        anonymous = Math.max(anonymous, outcome.anonymousBytes());
      }
      report.line("%n%-42s %10.2f s", "the merge command on two tiny models", best);
      report.ratio("merge_start_seconds", best);
      return anonymous;
    }
  }

  private static long planned(List<String> merge) throws IOException, InterruptedException {
    List<String> dryRun = new ArrayList<>(merge);
    dryRun.add("--dry-run");
    String plan = TimedCommand.run(dryRun).said();
    Matcher line = PLANNED.matcher(plan);
    if (!line.find()) {
      throw new InputException("the plan has no line with " + PLANNED + ": " + plan);
    }
    return Long.parseLong(line.group(1).replace(",", ""));
  }

  private static Map<String, List<Long>> shapes(Path model) {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        shapes.put(tensor.info().name(), tensor.info().shape());
      }
    }
    return shapes;
  }

  static void copyFolder(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (var files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
  }
}
