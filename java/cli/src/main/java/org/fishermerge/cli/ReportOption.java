package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportFile;
import org.fishermerge.cli.report.ReportFiles;
import org.fishermerge.cli.task.JsonReport;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** Where a command's report goes. */
final class ReportOption {
  @Option(
      names = "--report",
      paramLabel = "FILE",
      description =
          "Write a report: a page to look at if the name ends in .html, else JSON. Repeat it for"
              + " both.")
  List<Path> files = List.of();

  boolean isWanted() {
    return !files.isEmpty();
  }

  /** Refuses places that are an output or hold what is read. */
  void requireApart(Path output, List<Path> read) {
    for (Path file : files) {
      AtomicOutput.requireDistinct(List.of(output, file));
      AtomicOutput.requireNoInput(file, read);
    }
  }

  /** Prepares the files. */
  ReportFiles open(boolean overwrite) {
    AtomicOutput.requireDistinct(files);
    return ReportFiles.open(files, overwrite);
  }

  /** The beginning of a report of a command. */
  static ReportBuilder begin(CommandSpec spec) {
    return new ReportBuilder(spec.name(), Main.words(spec));
  }

  /** For a command whose JSON has no keys of its own. */
  void publish(ReportFiles opened, ReportBuilder report, CommandSpec spec) {
    publish(opened, JsonReport.object(), report, spec);
  }

  /** Writes the report, and says where a page lies. */
  void publish(ReportFiles opened, ObjectNode own, ReportBuilder report, CommandSpec spec) {
    opened.publish(own, report.build());
    files.stream()
        .filter(ReportFile::isPage)
        .forEach(page -> spec.commandLine().getOut().println("report: " + page));
  }
}
