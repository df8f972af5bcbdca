package org.fishermerge.cli.report;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Locale;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.task.JsonReport;

/** A place for a report: a page if its name ends in .html, JSON otherwise. */
public final class ReportFile implements AutoCloseable {
  private final AtomicOutput output;
  private final boolean page;

  private ReportFile(AtomicOutput output, boolean page) {
    this.output = output;
    this.page = page;
  }

  /** Whether a name is one of a page. */
  public static boolean isPage(Path file) {
    String name = file.toString().toLowerCase(Locale.ROOT);
    return name.endsWith(".html") || name.endsWith(".htm");
  }

  /**
   * Prepares the file.
   *
   * @throws InputException if it cannot be written
   */
  public static ReportFile open(Path file, boolean overwrite) {
    return new ReportFile(AtomicOutput.file(file, overwrite), isPage(file));
  }

  /**
   * Writes and puts the file in its place.
   *
   * @param own the keys that the command's JSON has had from the start; the report is added
   */
  public void publish(ObjectNode own, RunReport report) {
    output.write(
        page ? ReportPage.of(report) : JsonReport.text(ReportJson.addTo(own.deepCopy(), report)));
    output.commit();
  }

  @Override
  public void close() {
    output.close();
  }
}
