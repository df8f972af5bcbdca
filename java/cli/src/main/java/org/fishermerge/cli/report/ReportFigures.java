package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import org.fishermerge.cli.report.JsonObject.JsonArray;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.ShareCell;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.RunReport.Try;
import org.jspecify.annotations.Nullable;

/**
 * What the page's script draws figures from: {@code bars}, {@code dots}, {@code heat} and {@code
 * steps}, each an object that the script explains.
 */
final class ReportFigures {
  private ReportFigures() {}

  private static JsonObject figure(String type) {
    return new JsonObject().put("type", type);
  }

  private static String seen(String name) {
    return HtmlWriter.visible(name);
  }

  // ---- bars ----

  /** A bar for each row's mean. */
  static JsonObject means(Accuracies accuracies) {
    JsonObject figure = figure("bars").put("unit", "%").put("top", 1);
    JsonArray bars = figure.putArray("bars");
    for (Row row : accuracies.rows()) {
      Measure mean = row.mean();
      if (mean != null) {
        bar(bars, "", row.name(), row.role(), mean);
      }
    }
    return figure;
  }

  /** A group for each task: base, own, average and this merge, or all where there are few. */
  static JsonObject byTask(Accuracies accuracies) {
    List<Row> rows =
        showsAll(accuracies)
            ? accuracies.rows()
            : accuracies.rows().stream().filter(row -> row.role() != Role.OTHER).toList();
    JsonObject figure = figure("bars").put("unit", "%").put("top", 1);
    JsonArray bars = figure.putArray("bars");
    for (int t = 0; t < accuracies.tasks().size(); t++) {
      for (Row row : rows) {
        if (t >= row.measures().size()) {
          continue;
        }
        String task = accuracies.tasks().get(t);
        if (rows.size() == 1) {
          // A name over each bar would be the same for all.
          bar(bars, "", task, row.role(), row.measures().get(t));
        } else {
          bar(bars, task, row.name(), row.role(), row.measures().get(t));
        }
      }
    }
    return figure;
  }

  /** Few rows, or none that the report is of: those of other runs. */
  static boolean showsAll(Accuracies accuracies) {
    return accuracies.rows().size() <= 4
        || accuracies.rows().stream().noneMatch(row -> row.role() == Role.THIS);
  }

  private static void bar(JsonArray bars, String group, String name, Role role, Measure measure) {
    JsonObject bar =
        bars.addObject()
            .put("group", seen(group))
            .put("name", seen(name))
            .put("role", role.text())
            .put("value", measure.accuracy())
            .put("text", Table.percentText(measure.accuracy(), 1) + " %");
    put(bar, measure.interval());
  }

  private static void put(JsonObject mark, @Nullable Interval interval) {
    if (interval != null) {
      mark.put("low", interval.low())
          .put("high", interval.high())
          .put(
              "more",
              String.format(
                  Locale.ROOT,
                  "95 %% interval %.1f to %.1f",
                  100 * interval.low(),
                  100 * interval.high()));
    }
  }

  static JsonObject seconds(List<Stage> stages) {
    JsonObject figure = figure("bars").put("unit", "seconds");
    JsonArray bars = figure.putArray("bars");
    for (Stage stage : stages) {
      bars.addObject()
          .put("group", "")
          .put("name", seen(stage.name()))
          .put("role", "this")
          .put("value", stage.seconds())
          .put("text", String.format(Locale.ROOT, "%.1f s", stage.seconds()));
    }
    return figure;
  }

  /** Peaks beside plans, of the stages that have them. */
  static JsonObject memory(List<Stage> stages) {
    JsonObject figure = figure("bars").put("unit", "GB");
    JsonArray bars = figure.putArray("bars");
    for (Stage stage : stages) {
      Long peak = stage.peakBytes();
      Long planned = stage.plannedBytes();
      if (planned != null) {
        if (peak != null) {
          memory(bars, stage, "peak", "this", peak);
        }
        memory(bars, stage, "planned", "base", planned);
      }
    }
    return figure;
  }

  private static void memory(JsonArray bars, Stage stage, String what, String role, long bytes) {
    bars.addObject()
        .put("group", seen(stage.name()))
        .put("name", what)
        .put("role", role)
        .put("value", bytes / 1e9)
        .put("text", Table.bytesText(bytes));
  }

  // ---- dots ----

  /** This merge against the average, task by task. */
  static JsonObject differences(Accuracies accuracies, Row row) {
    JsonObject figure = figure("dots").put("unit", "points");
    JsonArray dots = figure.putArray("dots");
    List<Interval> differences = row.differences() == null ? List.of() : row.differences();
    for (int t = 0; t < differences.size(); t++) {
      dot(dots, accuracies.tasks().get(t), differences.get(t));
    }
    Interval mean = row.meanDifference();
    if (mean != null) {
      dot(dots, "mean", mean);
    }
    return figure;
  }

  private static void dot(JsonArray dots, String name, Interval difference) {
    JsonObject dot =
        dots.addObject()
            .put("name", seen(name))
            .put("value", difference.value())
            .put("text", String.format(Locale.ROOT, "%+.1f points", 100 * difference.value()));
    put(dot, difference);
  }

  // ---- heat maps ----

  private static JsonArray names(JsonObject figure, String field, Iterable<String> names) {
    JsonArray array = figure.putArray(field);
    names.forEach(name -> array.add(seen(name)));
    return array;
  }

  /** A block for each kind of parameter, a row in it for each model, a column for each layer. */
  static JsonObject shares(Shares shares) {
    Set<String> layers = new LinkedHashSet<>();
    Set<String> kinds = new LinkedHashSet<>();
    for (ShareCell cell : shares.cells()) {
      layers.add(cell.layer());
      kinds.add(cell.kind());
    }
    List<String> columns = List.copyOf(layers);
    List<String> blocks = new ArrayList<>(kinds);
    if (blocks.remove(MergeFacts.OTHER)) {
      blocks.add(MergeFacts.OTHER);
    }
    JsonObject figure = figure("heat").put("unit", "%");
    names(figure, "columns", columns);
    names(figure, "rows", shares.models());
    names(figure, "blocks", blocks);
    JsonArray cells = figure.putArray("cells");
    for (ShareCell cell : shares.cells()) {
      for (int i = 0; i < cell.shares().size(); i++) {
        Double share = cell.shares().get(i);
        if (share != null) {
          cell(
              cells,
              blocks.indexOf(cell.kind()),
              i,
              columns.indexOf(cell.layer()),
              share,
              Table.percentText(share, 1) + " %");
        }
      }
    }
    return figure;
  }

  private static void cell(
      JsonArray cells, int block, int row, int column, double value, String text) {
    if (!Double.isFinite(value)) {
      return; // JSON has no such number; the table shows it
    }
    // Short, since there may be thousands.
    cells.addArray().add(block).add(row).add(column).add(value).add(text);
  }

  static JsonObject fishers(FisherSizes fishers) {
    JsonObject figure = figure("heat").put("scale", "log");
    List<String> layers = new ArrayList<>();
    fishers.layers().forEach(layer -> layers.add(layer.layer()));
    names(figure, "columns", layers);
    names(figure, "rows", fishers.tasks());
    names(figure, "blocks", List.of(""));
    JsonArray cells = figure.putArray("cells");
    for (int c = 0; c < layers.size(); c++) {
      List<@Nullable Double> rms = fishers.layers().get(c).rms();
      for (int r = 0; r < rms.size(); r++) {
        Double each = rms.get(r);
        if (each != null && each > 0) {
          cell(cells, 0, r, c, each, String.format(Locale.ROOT, "%.2e", each));
        }
      }
    }
    return figure;
  }

  static JsonObject similarity(Similarities similarity) {
    JsonObject figure = figure("heat").put("top", 1).put("square", true);
    names(figure, "columns", similarity.tasks());
    names(figure, "rows", similarity.tasks());
    names(figure, "blocks", List.of(""));
    JsonArray cells = figure.putArray("cells");
    for (int r = 0; r < similarity.overlap().size(); r++) {
      List<@Nullable Double> row = similarity.overlap().get(r);
      for (int c = 0; c < row.size(); c++) {
        Double value = row.get(c);
        if (value != null) {
          cell(cells, 0, r, c, value, String.format(Locale.ROOT, "%.3f", value));
        }
      }
    }
    return figure;
  }

  // ---- steps ----

  /** What was tried, and the best so far. */
  static JsonObject search(Search search) {
    boolean kl = search.measure().equals("kl");
    ToDoubleFunction<Double> shown = value -> kl ? value : 100 * value;
    JsonObject figure =
        figure("steps")
            .put("unit", kl ? "KL, nats" : "accuracy, %")
            .put("less", kl)
            .put("best", search.best());
    JsonArray points = figure.putArray("points");
    for (int k = 0; k < search.tries().size(); k++) {
      Try each = search.tries().get(k);
      Double value = each.value();
      if (value != null && Double.isFinite(value)) {
        String merge = each.merge();
        points
            .addObject()
            .put("at", k + 1)
            .put("value", shown.applyAsDouble(value))
            .put("name", "try " + (k + 1) + (merge == null ? "" : ", " + seen(merge)))
            .put(
                "text",
                kl
                    ? String.format(Locale.ROOT, "%.5f nats", value)
                    : Table.percentText(value, 2) + " %");
      }
    }
    return figure;
  }
}
