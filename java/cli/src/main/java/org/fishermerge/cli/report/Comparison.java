package org.fishermerge.cli.report;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.stream.Collectors;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.Table.Cell;

/** Reports of several runs as one, with a row for each run. */
public final class Comparison {
  private final List<String> names;
  private final List<RunReport> reports;

  /**
   * A comparison.
   *
   * @param names distinct ones, one for each report
   */
  public Comparison(List<String> names, List<RunReport> reports) {
    this.names = List.copyOf(names);
    this.reports = List.copyOf(reports);
  }

  /** The page of a report that {@link #report} made. */
  public String page(RunReport compared) {
    return ReportPage.of(compared, List.of(runs()));
  }

  /** The same for standard output. */
  public void print(RunReport compared, PrintWriter out) {
    ReportText.table(runs(), out);
    Accuracies accuracies = compared.accuracies();
    if (accuracies != null) {
      out.println();
      ReportText.accuracies(accuracies, out);
    }
  }

  /**
   * All runs in one report: base, own models and average once, of the first run that has them, and
   * each run's own merge under the run's name.
   */
  public RunReport report(ReportBuilder builder) {
    List<String> tasks = commonTasks();
    List<Row> rows = new ArrayList<>();
    for (Role role : List.of(Role.BASE, Role.OWN, Role.AVERAGE)) {
      reports.stream()
          .map(report -> row(report, role))
          .flatMap(Optional::stream)
          .findFirst()
          .ifPresent(rows::add);
    }
    Set<String> left = new LinkedHashSet<>();
    for (int i = 0; i < reports.size(); i++) {
      RunReport report = reports.get(i);
      Optional<Row> own = row(report, Role.THIS);
      if (own.isPresent()) {
        rows.add(Intervals.row(names.get(i), Role.OTHER, own.get().measures()));
      }
      Accuracies accuracies = report.accuracies();
      if (accuracies != null) {
        accuracies.tasks().stream().filter(task -> !tasks.contains(task)).forEach(left::add);
      }
      String name = names.get(i);
      report.merges().forEach(merge -> builder.merge(named(name, merge)));
      double seconds = report.stages().stream().mapToDouble(Stage::seconds).sum();
      Double all = report.origin().seconds();
      if (all != null || seconds > 0) {
        builder.stage(
            new Stage(name, all == null ? seconds : all, null, null, null, null, null, null));
      }
    }
    if (!tasks.isEmpty() && !rows.isEmpty()) {
      builder.accuracies(Intervals.complete(tasks, rows));
    }
    if (!left.isEmpty()) {
      builder.warnings(
          List.of("left out, since not all runs measured them: " + String.join(", ", left)));
    }
    return builder.build();
  }

  private static Merge named(String name, Merge merge) {
    return new Merge(
        name + ": " + merge.rule(),
        merge.settings(),
        merge.output(),
        merge.parameters(),
        merge.bytesRead(),
        merge.bytesWritten(),
        merge.seconds(),
        merge.residual());
  }

  private List<String> commonTasks() {
    Set<String> common = null;
    for (RunReport report : reports) {
      Accuracies accuracies = report.accuracies();
      if (accuracies != null) {
        if (common == null) {
          common = new LinkedHashSet<>(accuracies.tasks());
        } else {
          common.retainAll(accuracies.tasks());
        }
      }
    }
    return common == null ? List.of() : List.copyOf(common);
  }

  private Optional<Row> row(RunReport report, Role role) {
    Accuracies accuracies = report.accuracies();
    if (accuracies == null) {
      return Optional.empty();
    }
    Optional<Row> found = accuracies.rows().stream().filter(row -> row.role() == role).findFirst();
    // Runs may have their tasks in another order.
    return found.map(row ->
        Intervals.row(
            row.name(),
            row.role(),
            commonTasks().stream()
                .map(task -> row.measures().get(accuracies.tasks().indexOf(task)))
                .toList()));
  }

  /** Of the run's own merge over the tasks that all runs have. */
  private OptionalDouble mean(RunReport report) {
    return row(report, Role.THIS)
        .map(row -> Intervals.mean(row.measures()))
        .map(mean -> OptionalDouble.of(mean.accuracy()))
        .orElse(OptionalDouble.empty());
  }

  /** One line about each run. */
  Table runs() {
    List<List<Cell>> rows = new ArrayList<>();
    List<OptionalDouble> means = reports.stream().map(this::mean).toList();
    boolean choice = means.stream().filter(OptionalDouble::isPresent).count() > 1;
    OptionalDouble best = means.stream().flatMapToDouble(OptionalDouble::stream).max();
    for (int i = 0; i < reports.size(); i++) {
      RunReport report = reports.get(i);
      OptionalDouble mean = means.get(i);
      Cell shown = mean.isPresent() ? Table.percent(mean.getAsDouble(), 1) : Table.NONE;
      rows.add(
          List.of(
              Table.name(names.get(i)),
              Table.name(report.command()),
              Table.name(
                  report.merges().stream()
                      .map(Merge::rule)
                      .distinct()
                      .collect(Collectors.joining(", "))),
              choice && mean.equals(best) ? shown.asStrong() : shown,
              Table.name(
                  Long.toString(report.models().stream().filter(model -> !model.base()).count())),
              Table.digits(report.origin().seconds(), "%.1f"),
              Table.name(report.origin().started()),
              Table.name(report.origin().tool())));
    }
    return new Table(
        "Runs",
        List.of(
            "run", "command", "rules", "mean accuracy, %", "models", "seconds", "started", "tool"),
        rows);
  }
}
