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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToIntFunction;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * The main job on an embedded default: eight Fishers, merges, and accuracies on pictures that no
 * model has seen. It runs the program's own commands, so that whatever it does can be done by hand.
 */
public final class Demo {
  /** Training steps of the shipped models: per task for the base, then for each fine-tuned one. */
  public static final int BASE_STEPS = 400;

  public static final int TASK_STEPS = 400;

  private static final String EXACT = "exact";
  private static final long FISHER_SEED = 101;
  private static final long HELD_BACK_SEED = 102;
  private static final int FISHER_EXAMPLES = 256;
  private static final int HELD_BACK = 500;

  private final Path folder;
  private final PrintWriter out;
  private final PrintWriter err;
  private final ToIntFunction<String[]> command;

  /**
   * @param folder receives models, data, Fisher files, merged models and the report; must not exist
   * @param command runs one fisher-merge command line and returns its exit code
   */
  public Demo(Path folder, PrintWriter out, PrintWriter err, ToIntFunction<String[]> command) {
    this.folder = folder;
    this.out = out;
    this.err = err;
    this.command = command;
  }

  /** Trains the demo's models anew, as the shipped ones were trained, and writes them to a file. */
  public static void train(Path file, PrintWriter log, int baseSteps, int taskSteps) {
    // One thread: such small layers gain nothing from more, and sums come out alike anywhere.
    LibTorch.setThreads(1);
    new DemoTrainer(log, baseSteps, taskSteps).train(file);
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
    Path models = folder.resolve("models.safetensors");
    DemoFiles.copyModels(models);
    DemoFiles.layOut(models, folder.resolve("models"));
    for (DemoTask task : DemoTask.values()) {
      DemoFiles.writePictures(task, FISHER_SEED, FISHER_EXAMPLES, data(task, "fisher"));
      DemoFiles.writePictures(task, HELD_BACK_SEED, HELD_BACK, data(task, "held-back"));
    }
    for (String labels : List.of(EXACT, "batch-square")) {
      step("estimating eight Fisher informations, labels " + labels);
      for (DemoTask task : DemoTask.values()) {
        List<String> line = new ArrayList<>(List.of("fisher"));
        model(line, model(task));
        head(line, models, task);
        line.addAll(
            List.of(
                "--data",
                data(task, "fisher").toString(),
                "--labels",
                labels,
                "--statistic",
                labels.equals(EXACT) ? "diagonal,kronecker" : "diagonal",
                "--batch-size",
                "32",
                "--examples",
                String.valueOf(FISHER_EXAMPLES),
                "--out",
                fisher(task, labels).toString()));
        run(line);
      }
      step("merging with them");
      merge("fisher", labels, merged(labels));
    }
    step("merging linear layers by the Kronecker factors that came with the exact ones");
    merge("kronecker", EXACT, merged("kronecker"));
    step("averaging without");
    List<String> average = new ArrayList<>(List.of("average", "--base", model("base").toString()));
    for (DemoTask task : DemoTask.values()) {
      model(average, model(task));
    }
    average.addAll(List.of("--out", merged("average").toString()));
    run(average);

    step("evaluating on " + HELD_BACK + " held-back pictures per task");
    Map<String, double[]> rows = new LinkedHashMap<>();
    rows.put("base", accuracies(models, "base", task -> model("base")));
    rows.put("fine-tuned, each its own", accuracies(models, "individual", Demo.this::model));
    rows.put("simple average", accuracies(models, "average", task -> merged("average")));
    rows.put(
        "Fisher, batch-square", accuracies(models, "batch-square", task -> merged("batch-square")));
    rows.put("Fisher, exact", accuracies(models, "exact", task -> merged("exact")));
    rows.put(
        "Kronecker-factored Fisher", accuracies(models, "kronecker", task -> merged("kronecker")));
    printTable(rows);
    Path report = writeReport(rows);
    out.printf(
        Locale.ROOT,
        "%nMerged model  %s%nReport        %s%nTook %.0f s.%n",
        merged("kronecker"),
        report,
        (System.nanoTime() - start) / 1e9);
    out.flush();
  }

  private void merge(String rule, String labels, Path output) {
    List<String> line =
        new ArrayList<>(List.of("merge", "--rule", rule, "--base", model("base").toString()));
    for (DemoTask task : DemoTask.values()) {
      model(line, model(task));
      line.addAll(List.of("--fisher", fisher(task, labels).toString()));
    }
    line.addAll(List.of("--out", output.toString()));
    run(line);
  }

  private void step(String what) {
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

  private double[] accuracies(Path models, String name, ModelOf modelOf) {
    DemoTask[] tasks = DemoTask.values();
    double[] row = new double[tasks.length];
    for (DemoTask task : tasks) {
      Path report = folder.resolve("reports").resolve(name + "-" + task.key() + ".json");
      List<String> line = new ArrayList<>(List.of("evaluate"));
      model(line, modelOf.of(task));
      head(line, models, task);
      line.addAll(
          List.of("--data", data(task, "held-back").toString(), "--report", report.toString()));
      run(line);
      try {
        JsonNode json = new JsonMapper().readTree(report.toFile());
        row[task.ordinal()] = json.path("accuracy").doubleValue();
      } catch (IOException e) {
        throw new UncheckedIOException("cannot read " + report, e);
      }
    }
    return row;
  }

  private void printTable(Map<String, double[]> rows) {
    StringBuilder head = new StringBuilder(String.format(Locale.ROOT, "%-26s", "accuracy, %"));
    for (DemoTask task : DemoTask.values()) {
      head.append(String.format(Locale.ROOT, "%9s", task.key()));
    }
    out.println();
    out.println(head.append(String.format(Locale.ROOT, "%9s", "mean")));
    rows.forEach((name, row) -> {
      StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%-26s", name));
      for (double accuracy : row) {
        line.append(String.format(Locale.ROOT, "%9.1f", 100 * accuracy));
      }
      out.println(line.append(String.format(Locale.ROOT, "%9.1f", 100 * mean(row))));
    });
  }

  private static double mean(double[] row) {
    double sum = 0;
    for (double value : row) {
      sum += value;
    }
    return sum / row.length;
  }

  private Path writeReport(Map<String, double[]> rows) {
    ObjectNode json = JsonReport.object();
    rows.forEach((name, row) -> {
      ObjectNode node = json.putObject(name);
      for (DemoTask task : DemoTask.values()) {
        node.put(task.key(), row[task.ordinal()]);
      }
      node.put("mean", mean(row));
    });
    Path report = folder.resolve("report.json");
    try (AtomicOutput output = AtomicOutput.file(report, false)) {
      JsonReport.publish(json, output);
    }
    return report;
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
