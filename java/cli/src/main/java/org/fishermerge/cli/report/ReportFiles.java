package org.fishermerge.cli.report;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The places of one report, each a page or JSON by its name. */
public final class ReportFiles implements AutoCloseable {
  private final List<ReportFile> files = new ArrayList<>();

  private ReportFiles() {}

  /**
   * Prepares the files, so that places that cannot be written are found before the work.
   *
   * @throws org.fishermerge.checkpoint.InputException naming the first that cannot be written
   */
  public static ReportFiles open(List<Path> places, boolean overwrite) {
    ReportFiles files = new ReportFiles();
    try {
      places.forEach(place -> files.files.add(ReportFile.open(place, overwrite)));
      return files;
    } catch (Throwable e) {
      files.close();
      throw e;
    }
  }

  /** The page beside a JSON file. */
  public static Path pageBeside(Path json) {
    String text = json.toString();
    int dot = text.endsWith(".json") ? text.length() - ".json".length() : text.length();
    return Path.of(text.substring(0, dot) + ".html");
  }

  /**
   * Writes all of them.
   *
   * @param own the keys that the command's JSON has had from the start
   */
  public void publish(ObjectNode own, RunReport report) {
    files.forEach(file -> file.publish(own, report));
  }

  @Override
  public void close() {
    files.forEach(ReportFile::close);
  }
}
