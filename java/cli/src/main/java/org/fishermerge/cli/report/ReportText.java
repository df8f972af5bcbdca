package org.fishermerge.cli.report;

import java.util.Map;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.task.Terminal;

/** Parts of a report for standard output, as wide as that is where it is a terminal. */
public final class ReportText {
  private static final Map<String, String> ENVIRONMENT = System.getenv();

  private ReportText() {}

  /** Accuracies by task, a line for each model or merge. */
  public static String accuracies(Accuracies accuracies) {
    return table(ReportTables.accuracies(accuracies));
  }

  static String table(Table table) {
    return TextTable.of(
        table,
        Terminal.OUT.isThere() ? Terminal.OUT.width(ENVIRONMENT) : TextTable.UNLIMITED);
  }
}
