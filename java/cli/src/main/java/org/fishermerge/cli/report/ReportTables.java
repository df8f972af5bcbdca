package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.stream.Collectors;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.Check;
import org.fishermerge.cli.report.RunReport.CheckRow;
import org.fishermerge.cli.report.RunReport.FisherLayer;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.ShareCell;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.RunReport.Statistic;
import org.fishermerge.cli.report.RunReport.Try;
import org.fishermerge.cli.report.Table.Cell;
import org.jspecify.annotations.Nullable;

/** The tables of a report: every number of it is in one of them. */
final class ReportTables {
  private ReportTables() {}

  /** Accuracies in percent, a row for each model or merge; the best merges stand out. */
  static Table accuracies(Accuracies accuracies) {
    List<String> columns = new ArrayList<>(List.of("accuracy, %"));
    columns.addAll(accuracies.tasks());
    columns.add("mean");
    List<Row> merges = accuracies.rows().stream().filter(ReportTables::isMerge).toList();
    boolean choice = merges.size() > 1;
    double bestMean = merges.stream().mapToDouble(ReportTables::mean).max().orElse(0);
    List<List<Cell>> rows = new ArrayList<>();
    for (Row row : accuracies.rows()) {
      boolean candidate = choice && isMerge(row);
      boolean best = candidate && mean(row) == bestMean;
      List<Cell> cells = new ArrayList<>(List.of(strong(Table.name(row.name()), best)));
      for (int t = 0; t < row.measures().size(); t++) {
        int task = t;
        double accuracy = row.measures().get(t).accuracy();
        cells.add(
            strong(
                Table.percent(accuracy, 1),
                candidate
                    && merges.stream()
                        .allMatch(other -> other.measures().get(task).accuracy() <= accuracy)));
      }
      Measure mean = row.mean();
      cells.add(mean == null ? Table.NONE : strong(Table.percent(mean.accuracy(), 1), best));
      rows.add(cells);
    }
    return new Table(
        choice ? "Accuracies; the best merge of each column in bold" : "Accuracies", columns, rows);
  }

  private static Cell strong(Cell cell, boolean strong) {
    return strong ? cell.asStrong() : cell;
  }

  private static boolean isMerge(Row row) {
    return row.role() != Role.BASE && row.role() != Role.OWN;
  }

  private static double mean(Row row) {
    Measure mean = row.mean();
    return mean == null ? Double.NEGATIVE_INFINITY : mean.accuracy();
  }

  /** Intervals, counts and losses, a row for each measure. */
  static Table measures(Accuracies accuracies) {
    List<List<Cell>> rows = new ArrayList<>();
    for (Row row : accuracies.rows()) {
      for (int t = 0; t < row.measures().size(); t++) {
        List<Interval> differences = row.differences();
        rows.add(
            measure(
                row.name(),
                accuracies.tasks().get(t),
                row.measures().get(t),
                differences != null && t < differences.size() ? differences.get(t) : null));
      }
      Measure mean = row.mean();
      if (mean != null) {
        rows.add(measure(row.name(), "mean", mean, row.meanDifference()));
      }
    }
    return new Table(
        "Accuracies with intervals",
        List.of(
            "model",
            "task",
            "accuracy, %",
            "95 % interval",
            "correct",
            "examples",
            "loss",
            "against the average, points",
            "95 % interval of that"),
        rows);
  }

  private static List<Cell> measure(
      String name, String task, Measure measure, @Nullable Interval difference) {
    return List.of(
        Table.name(name),
        Table.name(task),
        Table.percent(measure.accuracy(), 2),
        interval(measure.interval(), "%.2f to %.2f"),
        Table.count(measure.correct()),
        Table.count(measure.examples()),
        Table.digits(measure.loss(), "%.4f"),
        difference == null
            ? Table.NONE
            : Table.number(
                String.format(Locale.ROOT, "%+.2f", 100 * difference.value()), difference.value()),
        interval(difference, "%+.2f to %+.2f"));
  }

  static Cell interval(@Nullable Interval interval, String format) {
    return interval == null
        ? Table.NONE
        : Table.number(
            String.format(Locale.ROOT, format, 100 * interval.low(), 100 * interval.high()),
            interval.low(),
            interval.high(),
            interval.value());
  }

  static Table models(List<Model> models) {
    List<List<Cell>> rows = new ArrayList<>();
    for (Model model : models) {
      Statistic statistic = model.statistic();
      rows.add(
          List.of(
              Table.name(
                  model.base() && !model.name().equals("base")
                      ? model.name() + " (base)"
                      : model.name()),
              Table.name(Objects.equals(model.id(), model.path()) ? null : model.id()),
              Table.digits(model.coefficient(), "%.4g"),
              Table.digits(model.weight(), "%.3g"),
              Table.digits(model.norm(), "%.3g"),
              Table.percent(model.below(), 1),
              statistic == null ? Table.NONE : Table.count(statistic.examples()),
              Table.name(statistic == null ? null : statistic.labels()),
              Table.percent(statistic == null ? null : statistic.samplingError(), 1),
              Table.name(statistic == null ? null : statistic.data()),
              Table.name(statistic == null ? null : statistic.selection())));
    }
    return withoutEmptyColumns(
        new Table(
            "Models",
            List.of(
                "model",
                "id",
                "coefficient",
                "share",
                "Fisher norm",
                "under the floor, %",
                "examples",
                "labels",
                "sampling error, %",
                "data",
                "selection"),
            rows));
  }

  /** Where the models lie, and what is in them. */
  static Table files(List<Model> models) {
    List<List<Cell>> rows = new ArrayList<>();
    for (Model model : models) {
      Statistic statistic = model.statistic();
      rows.add(
          List.of(
              Table.name(model.name()),
              Table.name(model.path()),
              Table.name(statistic == null ? null : statistic.file()),
              Table.name(model.sha256())));
    }
    return withoutEmptyColumns(
        new Table("Files", List.of("model", "folder", "statistic", "SHA-256"), rows));
  }

  static Table merges(List<Merge> merges) {
    List<List<Cell>> rows = new ArrayList<>();
    for (Merge merge : merges) {
      rows.add(
          List.of(
              Table.name(merge.rule()),
              Table.name(merge.settings()),
              Table.count(merge.parameters()),
              Table.gigabytes(merge.bytesRead()),
              Table.gigabytes(merge.bytesWritten()),
              Table.digits(merge.seconds(), "%.2f"),
              Table.digits(merge.residual(), "%.2g"),
              Table.name(merge.output())));
    }
    return withoutEmptyColumns(
        new Table(
            "Merges",
            List.of(
                "rule",
                "settings",
                "parameters",
                "read",
                "written",
                "seconds",
                "worst residual",
                "output"),
            rows));
  }

  static Table shares(Shares shares) {
    List<String> columns = new ArrayList<>(List.of("layer", "parameters", "values"));
    columns.addAll(shares.models());
    List<List<Cell>> rows = new ArrayList<>();
    for (ShareCell cell : shares.cells()) {
      List<Cell> cells =
          new ArrayList<>(
              List.of(
                  Table.name(cell.layer()), Table.name(cell.kind()), Table.count(cell.values())));
      cell.shares().forEach(share -> cells.add(Table.percent(share, 1)));
      rows.add(cells);
    }
    // A report may have several, which must be told apart by their titles alone.
    return new Table("Shares of the weight, %: " + shares.merge(), columns, rows);
  }

  static Table fishers(FisherSizes fishers) {
    List<String> columns = new ArrayList<>(List.of("layer", "values"));
    columns.addAll(fishers.tasks());
    List<List<Cell>> rows = new ArrayList<>();
    for (FisherLayer layer : fishers.layers()) {
      List<Cell> cells =
          new ArrayList<>(List.of(Table.name(layer.layer()), Table.count(layer.values())));
      layer.rms().forEach(rms -> cells.add(Table.digits(rms, "%.2e")));
      rows.add(cells);
    }
    return new Table("Root mean square of the Fisher", columns, rows);
  }

  static Table similarity(String title, List<String> tasks, List<List<@Nullable Double>> matrix) {
    List<String> columns = new ArrayList<>(List.of("task"));
    columns.addAll(tasks);
    List<List<Cell>> rows = new ArrayList<>();
    for (int p = 0; p < tasks.size(); p++) {
      List<Cell> cells = new ArrayList<>(List.of(Table.name(tasks.get(p))));
      matrix.get(p).forEach(value -> cells.add(Table.digits(value, "%.3f")));
      rows.add(cells);
    }
    return new Table(title, columns, rows);
  }

  static Table search(Search search) {
    boolean kl = search.measure().equals("kl");
    List<String> columns =
        new ArrayList<>(List.of("try", "merge", "scale", kl ? "KL, nats" : "accuracy, %", "loss"));
    columns.addAll(search.coefficients());
    List<List<Cell>> rows = new ArrayList<>();
    for (int k = 0; k < search.tries().size(); k++) {
      Try each = search.tries().get(k);
      List<Cell> cells = new ArrayList<>();
      cells.add(Table.name(Integer.toString(k + 1)));
      cells.add(Table.name(each.merge()));
      cells.add(Table.digits(each.scale(), "%.3f"));
      cells.add(kl ? Table.digits(each.value(), "%.5f") : Table.percent(each.value(), 2));
      cells.add(Table.digits(each.loss(), "%.5f"));
      List<@Nullable Double> coefficients =
          each.coefficients() == null ? List.of() : each.coefficients();
      for (int c = 0; c < search.coefficients().size(); c++) {
        cells.add(c < coefficients.size() ? Table.digits(coefficients.get(c), "%.4f") : Table.NONE);
      }
      rows.add(
          k == search.best()
              ? cells.stream().map(Cell::asStrong).collect(Collectors.toCollection(ArrayList::new))
              : cells);
    }
    return withoutEmptyColumns(new Table("Tries", columns, rows));
  }

  static Table check(Search search, Check check) {
    List<String> columns = new ArrayList<>(List.of("task", "examples"));
    columns.addAll(check.columns());
    boolean kl = search.measure().equals("kl");
    List<List<Cell>> rows = new ArrayList<>();
    for (CheckRow row : check.rows()) {
      List<Cell> cells = new ArrayList<>(List.of(Table.name(row.task())));
      cells.add(Table.count(row.examples()));
      row.values()
          .forEach(value -> cells.add(kl ? Table.digits(value, "%.5f") : Table.percent(value, 2)));
      rows.add(cells);
    }
    return withoutEmptyColumns(
        new Table(
            kl ? "KL on unseen examples, nats" : "Accuracy on unseen examples, %", columns, rows));
  }

  static Table stages(List<Stage> stages) {
    List<List<Cell>> rows = new ArrayList<>();
    for (Stage stage : stages) {
      Long read = stage.bytesRead();
      Double plain = stage.plainRate();
      rows.add(
          List.of(
              Table.name(stage.name()),
              Table.digits(stage.seconds(), "%.2f"),
              Table.gigabytes(read),
              read == null || read == 0 || stage.seconds() <= 0
                  ? Table.NONE
                  : Table.name(rateText(read / stage.seconds())),
              plain == null ? Table.NONE : Table.number(rateText(plain), plain),
              Table.gigabytes(stage.bytesFromDisk()),
              Table.gigabytes(stage.bytesWritten()),
              Table.gigabytes(stage.peakBytes()),
              Table.gigabytes(stage.plannedBytes())));
    }
    return withoutEmptyColumns(
        new Table(
            "Stages",
            List.of(
                "stage",
                "seconds",
                "read",
                "read rate",
                "plain reading",
                "from disk",
                "written",
                "peak memory",
                "planned"),
            rows));
  }

  static String rateText(double bytesPerSecond) {
    return String.format(Locale.ROOT, "%.2f GB/s", bytesPerSecond / 1e9);
  }

  /** The first column stays whatever it holds. */
  private static Table withoutEmptyColumns(Table table) {
    List<Integer> kept = new ArrayList<>();
    for (int c = 0; c < table.columns().size(); c++) {
      int column = c;
      if (c == 0
          || table.rows().stream()
              .anyMatch(row -> !row.get(column).text().equals(Table.NONE.text()))) {
        kept.add(c);
      }
    }
    return new Table(
        table.title(),
        kept.stream().map(table.columns()::get).toList(),
        table.rows().stream().map(row -> kept.stream().map(row::get).toList()).toList());
  }
}
