package org.fishermerge.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * {@code benchmarks/run quality [--quick]}: accuracies of merged models, over pools of eight models
 * that are trained here, from seeds of their own and with learning rates that leave the models near
 * their base, as far from it as the demo's, farther, or too far apart to average. Every rule runs
 * as {@code demo} runs it, on 4,000 held-back pictures; the standard error of a mean is 0.8 points
 * at most. Then the merges that {@code search} tried are made and measured, for the rank
 * correlation of divergence and accuracy.
 */
public final class QualityReport {
  private static final JsonMapper JSON = new JsonMapper();
  private static final String AVERAGE = "simple average";
  private static final String BASE = "base";

  private record Kind(String name, double rate) {}

  private static final List<Kind> KINDS =
      List.of(
          new Kind("near", 1e-4),
          new Kind("as shipped", 5e-4),
          new Kind("far", 1.5e-3),
          new Kind("too far", 5e-3));

  private final Report report = new Report();
  private final Path scratch;

  private QualityReport(Path scratch) {
    this.scratch = scratch;
  }

  /** Prints the report. */
  public static void main(String[] args) throws IOException, InterruptedException {
    boolean quick = ReportOptions.of(args).quick();
    try (ScratchFolder scratch = new ScratchFolder()) {
      QualityReport quality = new QualityReport(scratch.path());
      for (int seed = 1; seed <= (quick ? 1 : 2); seed++) {
        for (Kind kind : KINDS) {
          quality.pool(kind, seed, !quick);
        }
      }
      quality.report.finish();
    }
  }

  private void pool(Kind kind, int seed, boolean correlates)
      throws IOException, InterruptedException {
    String name = kind.name.replace(' ', '-') + "-" + seed;
    Path models = scratch.resolve(name + ".safetensors");
    Path folder = scratch.resolve(name);
    run(
        List.of(
            "demo",
            "--train",
            models.toString(),
            "--seed",
            Integer.toString(seed),
            "--rate",
            Double.toString(kind.rate)));
    run(List.of("demo", "--models", models.toString(), "--out", folder.toString()));
    JsonNode rows = JSON.readTree(folder.resolve("report.json").toFile());
    report.line("%s, seed %d (learning rate %s)", kind.name, seed, kind.rate);
    rows.properties()
        .forEach(row ->
            report.line(
                "  %-28s %6.1f %%", row.getKey(), 100 * row.getValue().path("mean").doubleValue()));
    double floor = Math.max(mean(rows, AVERAGE), mean(rows, BASE));
    report.ratio(key(name, "tuned_over_floor"), mean(rows, "best rule by KL") / floor);
    report.ratio(key(name, "blend_over_floor"), mean(rows, "blend by KL") / floor);
    if (correlates) {
      correlation(name, models, folder);
    }
  }

  private static String key(String pool, String what) {
    return pool.replace('-', '_') + "_" + what;
  }

  private static double mean(JsonNode rows, String row) {
    return rows.path(row).path("mean").doubleValue();
  }

  /** Spearman's, of the divergences that a search measured and accuracies on held-back pictures. */
  private void correlation(String name, Path models, Path folder)
      throws IOException, InterruptedException {
    JsonNode search = JSON.readTree(folder.resolve("reports/search.json").toFile());
    List<Double> divergences = new ArrayList<>();
    List<Double> accuracies = new ArrayList<>();
    for (JsonNode each : search.path("tries")) {
      divergences.add(each.path("kl").doubleValue());
      accuracies.add(accuracy(each, models, folder));
    }
    double correlation = -correlation(ranks(divergences), ranks(accuracies));
    report.line(
        "  rank correlation of less divergence and more accuracy: %.2f over %d merges",
        correlation, divergences.size());
    report.ratio(key(name, "rank_correlation"), correlation);
  }

  private double accuracy(JsonNode tried, Path models, Path folder)
      throws IOException, InterruptedException {
    Path merged = scratch.resolve("tried");
    List<String> line = new ArrayList<>();
    tried.path("command").forEach(word -> line.add(word.textValue()));
    boolean byFisher = line.contains("merge");
    line.addAll(List.of("--scaling-factor", tried.path("scale").asText(), "--overwrite"));
    line.addAll(List.of("--base", folder.resolve("models/base").toString()));
    line.addAll(List.of("--out", merged.toString()));
    List<String> tasks = tasks(folder);
    for (String task : tasks) {
      line.addAll(List.of("--model", folder.resolve("models").resolve(task).toString()));
      if (byFisher) {
        line.addAll(List.of("--fisher", folder + "/fisher/" + task + "-exact.safetensors"));
      }
    }
    run(line);
    double sum = 0;
    for (String task : tasks) {
      Path measured = scratch.resolve("accuracy.json");
      run(
          List.of(
              "evaluate",
              "--model",
              merged.toString(),
              "--clip",
              folder.resolve("models/base").toString(),
              "--heads",
              models + "#" + task + ".",
              "--data",
              folder + "/data/" + task + "-held-back.safetensors",
              "--report",
              measured.toString(),
              "--overwrite"));
      sum += JSON.readTree(measured.toFile()).path("accuracy").doubleValue();
    }
    return sum / tasks.size();
  }

  private static List<String> tasks(Path folder) throws IOException {
    JsonNode base = JSON.readTree(folder.resolve("report.json").toFile()).path(BASE);
    return base.properties().stream()
        .map(Map.Entry::getKey)
        .filter(task -> !task.equals("mean"))
        .toList();
  }

  /** From 0 on; equal values share the mean of their places. */
  private static double[] ranks(List<Double> values) {
    List<Integer> order =
        IntStream.range(0, values.size())
            .boxed()
            .sorted(Comparator.comparing(values::get))
            .toList();
    double[] ranks = new double[values.size()];
    for (int from = 0; from < order.size(); ) {
      int to = from;
      while (to + 1 < order.size()
          && values.get(order.get(to + 1)).equals(values.get(order.get(from)))) {
        to++;
      }
      for (int i = from; i <= to; i++) {
        ranks[order.get(i)] = (from + to) / 2.0;
      }
      from = to + 1;
    }
    return ranks;
  }

  private static double correlation(double[] x, double[] y) {
    double meanX = IntStream.range(0, x.length).mapToDouble(i -> x[i]).average().orElseThrow();
    double meanY = IntStream.range(0, y.length).mapToDouble(i -> y[i]).average().orElseThrow();
    double xy = 0;
    double xx = 0;
    double yy = 0;
    for (int i = 0; i < x.length; i++) {
      xy += (x[i] - meanX) * (y[i] - meanY);
      xx += (x[i] - meanX) * (x[i] - meanX);
      yy += (y[i] - meanY) * (y[i] - meanY);
    }
    return xy / Math.sqrt(xx * yy);
  }

  private static void run(List<String> words) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>(List.of(TimedCommand.launcher()));
    line.addAll(words);
    TimedCommand.run(line);
  }
}
