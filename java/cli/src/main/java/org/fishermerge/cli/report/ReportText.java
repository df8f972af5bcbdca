package org.fishermerge.cli.report;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.Table.Cell;
import org.fishermerge.cli.task.StyledWriter;

/** Parts of a report for standard output, as wide as the terminal where it is one. */
public final class ReportText {
  private ReportText() {}

  /** Accuracies by task, a line for each model or merge. */
  public static void accuracies(Accuracies accuracies, PrintWriter out) {
    table(ReportTables.accuracies(accuracies), out);
  }

  /** One model's accuracies, intervals and losses, a line for each task. */
  public static void measures(
      List<String> tasks, List<Measure> measures, double accuracy, double loss, PrintWriter out) {
    List<List<Cell>> rows = new ArrayList<>();
    long examples = 0;
    for (int t = 0; t < tasks.size(); t++) {
      Measure measure = measures.get(t);
      Long counted = measure.examples();
      examples += counted == null ? 0 : counted;
      rows.add(
          List.of(
              Table.name(tasks.get(t)),
              Table.percent(measure.accuracy(), 2),
              ReportTables.interval(measure.interval(), "%.2f to %.2f"),
              Table.digits(measure.loss(), "%.4f"),
              Table.count(counted)));
    }
    rows.add(
        List.of(
            Table.name("average"),
            Table.percent(accuracy, 2),
            Table.name(" "),
            Table.digits(loss, "%.4f"),
            Table.count(examples)));
    table(
        new Table(
            "Accuracies",
            List.of("task", "accuracy, %", "95 % interval", "loss", "examples"),
            rows),
        out);
  }

  static void table(Table table, PrintWriter out) {
    for (TextTable.Piece piece : TextTable.of(table, StyledWriter.columns(out))) {
      if (piece.strong()) {
        StyledWriter.strong(out, piece.text());
      } else {
        out.print(piece.text());
      }
    }
    out.flush();
  }
}
