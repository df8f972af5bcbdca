package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.StatisticFacts;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.merge.Similarity;
import org.fishermerge.merge.SimilarityMatrix;
import org.fishermerge.merge.SimilarityMetric;

/** A comparison as tables, as JSON and as heat maps. */
final class SimilarityReport {
  /** With more tasks there are too many pairs for a row each. */
  private static final int MOST_TASKS_IN_PAIRS = 10;

  /** Wider tables number their columns instead of naming them. */
  private static final int WIDEST = 120;

  private static final int NARROWEST_COLUMN = 5;

  private final Similarity similarity;
  private final List<String> tasks;
  private final SimilarityMetric metric;

  SimilarityReport(Similarity similarity, List<String> tasks, SimilarityMetric metric) {
    this.similarity = similarity;
    this.tasks = tasks;
    this.metric = metric;
  }

  private String metricName() {
    return metric.name().toLowerCase(Locale.ROOT);
  }

  private String heading() {
    SimilarityMatrix model = similarity.model();
    return String.format(
        Locale.ROOT,
        "%s of %d Fishers over %,d values in %d %s",
        metricName(),
        tasks.size(),
        model.values(),
        model.tensors(),
        model.tensors() == 1 ? "tensor" : "tensors");
  }

  private static String cell(double value) {
    return Double.isNaN(value) ? "-" : String.format(Locale.ROOT, "%.3f", value);
  }

  // ---- tables ----

  /** A row and a column for each task. */
  String matrixTable() {
    int widest = longest(tasks);
    int column = Math.max(NARROWEST_COLUMN, widest);
    boolean named = widest + tasks.size() * (column + 2) <= WIDEST;
    List<String> rows = new ArrayList<>();
    List<String> heads = new ArrayList<>();
    for (int p = 0; p < tasks.size(); p++) {
      rows.add(named ? tasks.get(p) : (p + 1) + " " + tasks.get(p));
      heads.add(named ? tasks.get(p) : Integer.toString(p + 1));
    }
    int width = named ? column : NARROWEST_COLUMN;
    int left = longest(rows);
    StringBuilder text = new StringBuilder(heading()).append("\n\n").append(pad("", left));
    heads.forEach(head -> text.append("  ").append(padLeft(head, width)));
    text.append('\n');
    for (int p = 0; p < tasks.size(); p++) {
      text.append(pad(rows.get(p), left));
      for (int q = 0; q < tasks.size(); q++) {
        text.append("  ").append(padLeft(cell(similarity.model().get(metric, p, q)), width));
      }
      text.append('\n');
    }
    return text.toString();
  }

  /** Two tasks and how alike they are. */
  private record Pair(int p, int q, double value) {}

  private List<Pair> pairs(SimilarityMatrix matrix) {
    List<Pair> pairs = new ArrayList<>();
    for (int p = 0; p < tasks.size(); p++) {
      for (int q = p + 1; q < tasks.size(); q++) {
        pairs.add(new Pair(p, q, matrix.get(metric, p, q)));
      }
    }
    return pairs;
  }

  private String name(Pair pair) {
    return tasks.get(pair.p()) + " – " + tasks.get(pair.q());
  }

  /** A row for each layer: the mean over all pairs of different tasks, the least and most alike. */
  String layerTable() {
    List<SimilarityMatrix> parts = parts();
    int left = Math.max(longest(parts.stream().map(this::label).toList()), 5);
    StringBuilder text = new StringBuilder(heading()).append("\n\n");
    text.append(pad("layer", left)).append("         values   mean  least alike, most alike\n");
    for (SimilarityMatrix part : parts) {
      List<Pair> pairs =
          pairs(part).stream()
              .filter(pair -> !Double.isNaN(pair.value()))
              .sorted((a, b) -> Double.compare(a.value(), b.value()))
              .toList();
      text.append(pad(label(part), left))
          .append(String.format(Locale.ROOT, "  %,13d  ", part.values()));
      if (pairs.isEmpty()) {
        text.append("    -\n");
        continue;
      }
      text.append(cell(mean(pairs)));
      if (pairs.size() > 1) {
        Pair least = pairs.getFirst();
        Pair most = pairs.getLast();
        text.append("  ").append(cell(least.value())).append(' ').append(name(least));
        text.append(", ").append(cell(most.value())).append(' ').append(name(most));
      }
      text.append('\n');
    }
    return text.toString();
  }

  private static double mean(List<Pair> pairs) {
    return pairs.stream()
        .mapToDouble(Pair::value)
        .filter(value -> !Double.isNaN(value))
        .average()
        .orElse(Double.NaN);
  }

  /** The layers, and the model after them. */
  private List<SimilarityMatrix> parts() {
    List<SimilarityMatrix> parts = new ArrayList<>(similarity.layers());
    parts.add(similarity.model());
    return parts;
  }

  private String label(SimilarityMatrix part) {
    return part == similarity.model() ? "all" : part.name();
  }

  private static int longest(List<String> texts) {
    return texts.stream().mapToInt(String::length).max().orElse(0);
  }

  private static String pad(String text, int width) {
    return text + " ".repeat(Math.max(0, width - text.length()));
  }

  private static String padLeft(String text, int width) {
    return " ".repeat(Math.max(0, width - text.length())) + text;
  }

  // ---- heat maps ----

  /** A row and a column for each task. */
  HeatMap matrixMap() {
    List<List<Double>> values = new ArrayList<>();
    for (int p = 0; p < tasks.size(); p++) {
      List<Double> row = new ArrayList<>();
      for (int q = 0; q < tasks.size(); q++) {
        row.add(similarity.model().get(metric, p, q));
      }
      values.add(row);
    }
    return new HeatMap("Fisher " + metricName(), tasks, tasks, values);
  }

  /** A column for each layer; a row for each pair, or, of many tasks, for each one's mean. */
  HeatMap layerMap() {
    List<SimilarityMatrix> parts = parts();
    List<String> columns = parts.stream().map(this::label).toList();
    List<Pair> pairs = pairs(similarity.model());
    boolean inPairs = tasks.size() <= MOST_TASKS_IN_PAIRS;
    List<String> rows = inPairs ? pairs.stream().map(this::name).toList() : tasks;
    List<List<Double>> values =
        IntStream.range(0, rows.size())
            .mapToObj(row ->
                parts.stream()
                    .map(part ->
                        inPairs
                            ? part.get(metric, pairs.get(row).p(), pairs.get(row).q())
                            : meanWith(part, row))
                    .toList())
            .toList();
    return new HeatMap(
        "Fisher " + metricName() + (inPairs ? "" : " with the other tasks, mean") + ", by layer",
        rows,
        columns,
        values);
  }

  private double meanWith(SimilarityMatrix part, int task) {
    return mean(pairs(part).stream().filter(pair -> pair.p() == task || pair.q() == task).toList());
  }

  // ---- JSON ----

  /** Everything, with full precision; null where a Fisher is zero. */
  ObjectNode json() {
    ObjectNode root = JsonReport.object();
    ArrayNode files = root.putArray("tasks");
    List<Similarity.Source> sources = similarity.sources();
    for (int i = 0; i < tasks.size(); i++) {
      ObjectNode file = files.addObject();
      file.put("name", tasks.get(i));
      file.put("file", sources.get(i).path().toString());
      StatisticMetadata metadata = sources.get(i).metadata().orElse(null);
      file.put("examples", metadata == null ? null : metadata.examples());
      file.put("labels", metadata == null ? null : metadata.labels());
      file.put("dataset", metadata == null ? null : metadata.dataset());
    }
    put(root.putObject("model"), similarity.model());
    ArrayNode layers = root.putArray("layers");
    for (SimilarityMatrix layer : similarity.layers()) {
      put(layers.addObject().put("name", layer.name()), layer);
    }
    ArrayNode warnings = root.putArray("warnings");
    similarity.warnings().forEach(warnings::add);
    return root;
  }

  /** Adds the comparison to a report. */
  void addTo(ReportBuilder report) {
    List<StatisticFacts> files =
        similarity.sources().stream().map(source -> StatisticFacts.of(source.path())).toList();
    for (int i = 0; i < tasks.size(); i++) {
      StatisticFacts file = files.get(i);
      report.model(
          new Model(
              tasks.get(i),
              false,
              null,
              null,
              file.modelSha256(),
              null,
              null,
              null,
              null,
              file.statistic()));
    }
    report
        .similarity(Similarities.of(similarity, tasks))
        .fishers(StatisticFacts.sizes(files, tasks))
        .warnings(similarity.warnings());
  }

  private void put(ObjectNode node, SimilarityMatrix matrix) {
    node.put("tensors", matrix.tensors());
    node.put("values", matrix.values());
    for (SimilarityMetric each : SimilarityMetric.values()) {
      ArrayNode rows = node.putArray(each.name().toLowerCase(Locale.ROOT));
      for (int p = 0; p < tasks.size(); p++) {
        ArrayNode row = rows.addArray();
        for (int q = 0; q < tasks.size(); q++) {
          double value = matrix.get(each, p, q);
          if (Double.isNaN(value)) {
            row.addNull();
          } else {
            row.add(value);
          }
        }
      }
    }
  }
}
