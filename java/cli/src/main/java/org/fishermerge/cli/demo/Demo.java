package org.fishermerge.cli.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.report.Intervals;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportFiles;
import org.fishermerge.cli.report.ReportReader;
import org.fishermerge.cli.report.ReportText;
import org.fishermerge.cli.report.RunReport;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.Stages;
import org.fishermerge.cli.task.JsonReport;
import org.jspecify.annotations.Nullable;

/**
 * The main job on an embedded default: eight Fishers, merges, and accuracies on pictures that no
 * model has seen. It runs the program's own commands, so that whatever it does can be done by hand.
 */
public final class Demo implements AutoCloseable {
  private static final String EXACT = "exact";
  private static final String BATCH_SQUARE = "batch-square";
  private static final String OWN = "fine-tuned, each its own";
  private static final String AVERAGE = "simple average";
  private static final String BLEND = "blend by KL";

  /** Folders of the merges by their names in the table. */
  private static final Map<String, String> MERGES = new LinkedHashMap<>();

  static {
    MERGES.put(AVERAGE, "average");
    MERGES.put("task arithmetic", "task-arithmetic");
    MERGES.put("Fisher, batch-square", BATCH_SQUARE);
    MERGES.put("Fisher, exact", EXACT);
    MERGES.put("RegMean", "regmean");
    MERGES.put("Kronecker-factored Fisher", "kronecker");
    MERGES.put("best rule by KL", "tuned");
    MERGES.put(BLEND, "blend");
  }

  private static final long FISHER_SEED = 101;
  private static final int HELD_BACK = 500;

  private final Path folder;
  private final Optional<Path> pool;
  private final int examples;
  private final PrintWriter out;
  private final PrintWriter err;
  private final ToIntFunction<String[]> command;
  private final ReportBuilder report;
  private final Stages stages;
  private @Nullable String stage;

  /** The largest plan of the stage's merges. */
  private @Nullable Long planned;

  /**
   * @param folder receives models, data, Fisher files, merged models and the report; must not exist
   * @param pool a file of models that {@link #train} wrote; empty for those that ship with the
   *     program
   * @param examples pictures of each task that Fishers are estimated and merges searched on
   * @param command runs one fisher-merge command line and returns its exit code
   * @param line the words of the command line that started the demo
   */
  public Demo(
      Path folder,
      Optional<Path> pool,
      int examples,
      PrintWriter out,
      PrintWriter err,
      ToIntFunction<String[]> command,
      List<String> line) {
    this.report = new ReportBuilder("demo", line);
    this.stages = new Stages(report);
    this.folder = folder;
    this.pool = pool;
    this.examples = examples;
    this.out = out;
    this.err = err;
    this.command = command;
  }

  /** Trains models of the demo's kind, and writes them to a file. */
  public static void train(Path file, PrintWriter log, DemoRecipe recipe) {
    PicturePool.drawn().train(file, log, recipe);
  }

  /** Whether a demo ran in a folder, and was stopped before its end. */
  public static boolean isUnfinished(Path folder) {
    return Files.isDirectory(folder.resolve("models"))
        && Files.isDirectory(folder.resolve("merged"))
        && !Files.exists(folder.resolve("report.json"));
  }

  /** Runs the demo. */
  public void run() {
    long start = System.nanoTime();
    try {
      for (String name : List.of("models", "data", "fisher", "merged", "reports")) {
        Files.createDirectories(folder.resolve(name));
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot create " + folder, e);
    }
    step("laying out nine small CLIP vision towers and eight picture tasks");
    Path models = pool.orElse(folder.resolve("models.safetensors"));
    if (pool.isEmpty()) {
      DemoFiles.copyModels(models);
    }
    PicturePool.drawn().layOut(models, folder.resolve("models"));
    for (DemoTask task : DemoTask.values()) {
      DemoFiles.writePictures(task, FISHER_SEED, examples, data(task, "fisher"));
      DemoFiles.writePictures(
          task, DemoRecipe.HELD_BACK_PICTURES, HELD_BACK, data(task, "held-back"));
    }
    for (String labels : List.of(EXACT, BATCH_SQUARE)) {
      step("estimating eight Fisher informations, labels " + labels);
      for (DemoTask task : DemoTask.values()) {
        estimate(models, task, labels);
      }
    }
    step("merging with them, and without");
    runMerge("average", Optional.empty(), "average");
    runMerge("task-arithmetic", Optional.empty(), "task-arithmetic");
    runMerge("merge --rule fisher", Optional.of(BATCH_SQUARE), BATCH_SQUARE);
    runMerge("merge --rule fisher", Optional.of(EXACT), EXACT);
    runMerge("merge --rule regmean", Optional.of(EXACT), "regmean");
    runMerge("merge --rule kronecker", Optional.of(EXACT), "kronecker");
    step("searching the merge that predicts most like the models themselves, without labels");
    JsonNode search = search(models);
    step("merging by the best rule that it found");
    List<String> found = new ArrayList<>();
    search.at("/found/command").forEach(word -> found.add(word.textValue()));
    found.add("--scaling-factor");
    found.add(search.at("/found/scale").asText());
    runMerge(
        String.join(" ", found),
        found.contains("--rule") ? Optional.of(EXACT) : Optional.empty(),
        "tuned");

    step("evaluating on " + HELD_BACK + " held-back pictures per task");
    Map<String, List<Measure>> rows = new LinkedHashMap<>();
    rows.put("base", measures(models, "base", task -> model("base")));
    rows.put(OWN, measures(models, "individual", Demo.this::model));
    MERGES.forEach(
        (title, merge) -> rows.put(title, measures(models, merge, task -> merged(merge))));
    step("comparing the Fishers");
    Path similarity = compare();
    endStage();
    Accuracies accuracies = accuracies(rows);
    out.println();
    ReportText.accuracies(accuracies, out);
    printBest(rows);
    writeReport(rows, accuracies, similarity);
    out.printf(
        Locale.ROOT,
        "%nMerged model  %s%nReport        %s%nPage          %s%nTook %.0f s.%n",
        merged("blend"),
        reportFile(),
        ReportFiles.pageBeside(reportFile()),
        (System.nanoTime() - start) / 1e9);
    out.flush();
  }

  @Override
  public void close() {
    stages.close();
  }

  private Path reportFile() {
    return folder.resolve("report.json");
  }

  private static List<String> tasks() {
    return Stream.of(DemoTask.values()).map(DemoTask::key).toList();
  }

  private static Accuracies accuracies(Map<String, List<Measure>> rows) {
    List<Row> all = new ArrayList<>();
    rows.forEach((name, measures) -> {
      Role role =
          switch (name) {
            case "base" -> Role.BASE;
            case OWN -> Role.OWN;
            case AVERAGE -> Role.AVERAGE;
            case BLEND -> Role.THIS;
            default -> Role.OTHER;
          };
      all.add(Intervals.row(name, role, measures));
    });
    return Intervals.complete(tasks(), all);
  }

  private Path compare() {
    Path file = folder.resolve("reports").resolve("similarity.json");
    List<String> line = new ArrayList<>(List.of("similarity", "--json", file.toString()));
    line.addAll(List.of("--names", String.join(",", tasks())));
    for (DemoTask task : DemoTask.values()) {
      line.add(fisher(task, EXACT).toString());
    }
    run(line);
    return file;
  }

  private void estimate(Path models, DemoTask task, String labels) {
    List<String> line = new ArrayList<>(List.of("fisher", "--labels", labels));
    model(line, model(task));
    head(line, models, task);
    line.addAll(List.of("--data", data(task, "fisher").toString()));
    line.addAll(
        List.of("--statistic", labels.equals(EXACT) ? "diagonal,gram,kronecker" : "diagonal"));
    line.addAll(List.of("--batch-size", "32", "--examples", String.valueOf(examples)));
    line.addAll(List.of("--out", fisher(task, labels).toString()));
    run(line);
  }

  /**
   * The command of a merge of all tasks' models.
   *
   * @param labels of the Fisher files that it reads; empty if it reads none
   */
  private List<String> merge(String words, Optional<String> labels, String output) {
    List<String> line = new ArrayList<>(List.of(words.split(" ", -1)));
    line.addAll(List.of("--base", model("base").toString(), "--out", merged(output).toString()));
    line.addAll(List.of("--report", mergeReport(output).toString()));
    for (DemoTask task : DemoTask.values()) {
      model(line, model(task));
      labels.ifPresent(which -> line.addAll(List.of("--fisher", fisher(task, which).toString())));
    }
    return line;
  }

  private void runMerge(String words, Optional<String> labels, String output) {
    run(merge(words, labels, output));
    for (Stage each : ReportReader.read(mergeReport(output)).stages()) {
      Long bytes = each.plannedBytes();
      if (bytes != null) {
        planned = planned == null ? bytes : Math.max(planned, bytes);
      }
    }
  }

  private Path mergeReport(String output) {
    return folder.resolve("reports").resolve("merge-" + output + ".json");
  }

  /** Searches on the pictures that the Fishers were estimated on. */
  private JsonNode search(Path models) {
    Path report = folder.resolve("reports").resolve("search.json");
    List<String> line = new ArrayList<>(List.of("search", "--by", "blend"));
    line.addAll(List.of("--base", model("base").toString(), "--clip", model("base").toString()));
    for (DemoTask task : DemoTask.values()) {
      model(line, model(task));
      line.addAll(List.of("--fisher", fisher(task, EXACT).toString()));
      line.addAll(List.of("--data", data(task, "fisher").toString()));
      line.addAll(List.of("--heads", models + "#" + task.key() + "."));
    }
    line.addAll(List.of("--out", merged("blend").toString(), "--report", report.toString()));
    run(line);
    return read(report);
  }

  private static JsonNode read(Path report) {
    try {
      return new JsonMapper().readTree(report.toFile());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + report, e);
    }
  }

  private void printBest(Map<String, List<Measure>> rows) {
    Map.Entry<String, List<Measure>> best =
        rows.entrySet().stream()
            .filter(row -> MERGES.containsKey(row.getKey()))
            .max(Comparator.comparingDouble(row -> mean(row.getValue())))
            .orElseThrow();
    out.printf(
        Locale.ROOT,
        "%nBest: %s, %+.1f points against the average.%n",
        best.getKey(),
        100 * (mean(best.getValue()) - mean(rows.getOrDefault(AVERAGE, List.of()))));
  }

  private void endStage() {
    if (stage != null) {
      stages.end(stage, planned);
    }
    stage = null;
    planned = null;
  }

  private void step(String what) {
    endStage();
    stage = what;
    stages.begin();
    err.println("demo: " + what);
    err.flush();
  }

  private void run(List<String> line) {
    int code = command.applyAsInt(line.toArray(String[]::new));
    if (code != 0) {
      throw new InputException(
          "the demo stopped at: fisher-merge "
              + String.join(" ", line)
              + " (exit code "
              + code
              + ")");
    }
  }

  private interface ModelOf {
    Path of(DemoTask task);
  }

  private List<Measure> measures(Path models, String name, ModelOf modelOf) {
    List<Measure> row = new ArrayList<>();
    for (DemoTask task : DemoTask.values()) {
      Path file = folder.resolve("reports").resolve(name + "-" + task.key() + ".json");
      List<String> line = new ArrayList<>(List.of("evaluate"));
      model(line, modelOf.of(task));
      head(line, models, task);
      line.addAll(
          List.of("--data", data(task, "held-back").toString(), "--report", file.toString()));
      run(line);
      JsonNode json = read(file);
      row.add(ReportReader.measure(json, json));
    }
    return row;
  }

  private static double mean(List<Measure> row) {
    return row.stream().mapToDouble(Measure::accuracy).sum() / row.size();
  }

  private void writeReport(
      Map<String, List<Measure>> rows, Accuracies accuracies, Path similarity) {
    ObjectNode json = JsonReport.object();
    rows.forEach((name, row) -> {
      ObjectNode node = json.putObject(name);
      for (DemoTask task : DemoTask.values()) {
        node.put(task.key(), row.get(task.ordinal()).accuracy());
      }
      node.put("mean", mean(row));
    });
    RunReport exact = ReportReader.read(mergeReport(EXACT));
    RunReport compared = ReportReader.read(similarity);
    RunReport searched = ReportReader.read(folder.resolve("reports").resolve("search.json"));
    report
        .accuracies(accuracies)
        .models(exact.models())
        .fishers(compared.fishers())
        .similarity(compared.similarity())
        .search(searched.search());
    for (String merge : MERGES.values()) {
      RunReport each = merge.equals("blend") ? searched : ReportReader.read(mergeReport(merge));
      each.merges().forEach(report::merge);
      if (List.of(EXACT, "kronecker").contains(merge)) {
        report.shares(each.shares());
      }
    }
    try (ReportFiles files =
        ReportFiles.open(List.of(reportFile(), ReportFiles.pageBeside(reportFile())), false)) {
      files.publish(json, report.build());
    }
  }

  private static void model(List<String> line, Path model) {
    line.addAll(List.of("--model", model.toString()));
  }

  private void head(List<String> line, Path models, DemoTask task) {
    line.addAll(
        List.of("--clip", model("base").toString(), "--heads", models + "#" + task.key() + "."));
  }

  private Path model(DemoTask task) {
    return model(task.key());
  }

  private Path model(String name) {
    return folder.resolve("models").resolve(name);
  }

  private Path data(DemoTask task, String split) {
    return folder.resolve("data").resolve(task.key() + "-" + split + ".safetensors");
  }

  private Path fisher(DemoTask task, String labels) {
    return folder.resolve("fisher").resolve(task.key() + "-" + labels + ".safetensors");
  }

  private Path merged(String method) {
    return folder.resolve("merged").resolve(method);
  }
}
