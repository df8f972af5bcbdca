package org.fishermerge.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.Main;
import org.fishermerge.cli.demo.PicturePool;

/**
 * The files of a pool of models, and the program's own commands on them, run in this JVM: whatever
 * is measured here can be done by hand.
 */
final class QualityPool {
  private static final JsonMapper JSON = new JsonMapper();

  /** Statistics that a merge reads. */
  enum Statistics {
    /** A diagonal Fisher by {@code --labels batch-square}. */
    BATCH_SQUARE,
    /** All three kinds by {@code --labels exact}. */
    EXACT;

    String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /**
   * A merge of all models.
   *
   * @param words the command and its options, but for files
   * @param statistics of each model, if it reads any
   */
  record Merge(String name, String words, Optional<Statistics> statistics) {}

  private final List<QualityTask> tasks;
  private final Path trained;
  private final Path folder;
  private int merges;

  /**
   * Lays models and data out.
   *
   * @param trained a file that {@link PicturePool#train} wrote
   * @param folder receives everything
   */
  QualityPool(List<QualityTask> tasks, Path trained, Path folder) throws IOException {
    this.tasks = List.copyOf(tasks);
    this.trained = trained;
    this.folder = folder;
    Files.createDirectories(folder);
    new PicturePool(tasks.stream().map(QualityTask::training).toList()).layOut(trained, folder);
    for (QualityTask task : tasks) {
      write(task.statistics(), statisticsData(task));
      write(task.heldBack(), heldBackData(task));
    }
  }

  private static void write(QualityTask.Stream pictures, Path file) {
    PicturePool.writePictures(pictures.task(), pictures.seed(), pictures.count(), file);
  }

  List<QualityTask> tasks() {
    return tasks;
  }

  Path model(String name) {
    return folder.resolve(name);
  }

  private Path statisticsData(QualityTask task) {
    return folder.resolve(task.key() + "-statistics.safetensors");
  }

  private Path heldBackData(QualityTask task) {
    return folder.resolve(task.key() + "-held-back.safetensors");
  }

  private Path statistics(QualityTask task, Statistics which) {
    return folder.resolve(task.key() + "-" + which.label() + ".safetensors");
  }

  /** Estimates the statistics of all models. */
  void estimate(Statistics which) {
    for (QualityTask task : tasks) {
      List<String> line = new ArrayList<>(List.of("fisher", "--labels", which.label()));
      line.addAll(
          List.of(
              "--statistic",
              which == Statistics.EXACT ? "diagonal,gram,kronecker" : "diagonal",
              "--batch-size",
              "32"));
      line.addAll(List.of("--examples", Integer.toString(task.statistics().count())));
      line.addAll(List.of("--model", model(task.key()).toString()));
      line.addAll(head(task));
      line.addAll(List.of("--data", statisticsData(task).toString()));
      line.addAll(List.of("--out", statistics(task, which).toString()));
      run(line);
    }
  }

  private List<String> head(QualityTask task) {
    return List.of("--clip", model("base").toString(), "--heads", trained + "#" + task.key() + ".");
  }

  /** Merges, into a folder that each merge overwrites. */
  Path merge(Merge merge) {
    Path merged = folder.resolve("merged");
    List<String> line = new ArrayList<>(List.of(merge.words.split(" ", -1)));
    line.addAll(
        List.of("--base", model("base").toString(), "--out", merged.toString(), "--overwrite"));
    for (QualityTask task : tasks) {
      line.addAll(List.of("--model", model(task.key()).toString()));
      merge
          .statistics
          .map(which -> List.of("--fisher", statistics(task, which).toString()))
          .ifPresent(line::addAll);
    }
    run(line);
    return merged;
  }

  /** What a search wrote, and its report. */
  record Found(Path merged, JsonNode report) {}

  /**
   * Searches on the examples that statistics were estimated from.
   *
   * @param options of the command, but for files
   */
  Found search(String options) throws IOException {
    Path merged = folder.resolve("found" + merges++);
    Path report = folder.resolve("search.json");
    List<String> line = new ArrayList<>(List.of("search"));
    line.addAll(List.of(options.split(" ", -1)));
    line.addAll(List.of("--base", model("base").toString(), "--clip", model("base").toString()));
    for (QualityTask task : tasks) {
      line.addAll(List.of("--model", model(task.key()).toString()));
      line.addAll(List.of("--fisher", statistics(task, Statistics.EXACT).toString()));
      line.addAll(List.of("--data", statisticsData(task).toString()));
      line.addAll(List.of("--heads", trained + "#" + task.key() + "."));
    }
    line.addAll(List.of("--out", merged.toString(), "--report", report.toString()));
    line.add("--overwrite");
    run(line);
    return new Found(merged, JSON.readTree(report.toFile()));
  }

  /** Predictions on held-back pictures, task by task. */
  List<Predictions> onHeldBack(Function<QualityTask, Path> modelOf) {
    return tasks.stream().map(task -> predict(task, modelOf, heldBackData(task))).toList();
  }

  /** Predictions on the examples that statistics were estimated from, task by task. */
  List<Predictions> onStatistics(Function<QualityTask, Path> modelOf) {
    return tasks.stream().map(task -> predict(task, modelOf, statisticsData(task))).toList();
  }

  private Predictions predict(QualityTask task, Function<QualityTask, Path> modelOf, Path data) {
    Path outputs = folder.resolve("outputs.safetensors");
    List<String> line = new ArrayList<>(List.of("evaluate", "--overwrite"));
    line.addAll(List.of("--model", modelOf.apply(task).toString()));
    line.addAll(head(task));
    line.addAll(List.of("--data", data.toString(), "--outputs", outputs.toString()));
    run(line);
    try (Checkpoint written = Checkpoint.open(outputs);
        Checkpoint examples = Checkpoint.open(data)) {
      return new Predictions(
          written.floats("logits"),
          examples.segment("labels").toArray(ValueLayout.JAVA_LONG_UNALIGNED));
    }
  }

  /** The mean over tasks of the divergence from each model's own predictions. */
  static double divergence(List<Predictions> merged, List<Predictions> own) {
    return IntStream.range(0, own.size())
        .mapToDouble(t -> merged.get(t).divergenceFrom(own.get(t)))
        .average()
        .orElseThrow();
  }

  private static void run(List<String> line) {
    StringWriter errors = new StringWriter();
    int code =
        Main.run(
            new PrintWriter(Writer.nullWriter()),
            new PrintWriter(errors),
            line.toArray(String[]::new));
    if (code != 0) {
      throw new InputException(
          "fisher-merge " + String.join(" ", line) + " failed: " + errors.toString().strip());
    }
  }
}
