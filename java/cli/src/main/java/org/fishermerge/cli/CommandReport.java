package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportFile;
import org.fishermerge.cli.report.ReportFiles;
import org.fishermerge.cli.report.Stages;
import org.fishermerge.cli.task.JsonReport;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;

/**
 * The report of one run of a command: what is gathered, and the files that it goes to. picocli
 * inspects the fields and methods of a command at each start, which loads the types that they name.
 * So that runs without a report load none of its classes, commands keep this in local variables
 * only.
 */
final class CommandReport implements AutoCloseable {
  private final CommandSpec spec;
  private final List<Path> places;
  private final ReportFiles files;
  private final ReportBuilder builder;
  private final Stages stages;

  private CommandReport(CommandSpec spec, List<Path> places, boolean overwrite) {
    this.spec = spec;
    this.places = places;
    this.builder = begin(spec);
    AtomicOutput.requireDistinct(places);
    this.files = ReportFiles.open(places, overwrite);
    this.stages = new Stages(builder);
  }

  /** Prepares the files and starts the clock; null if no report is wanted. */
  static @Nullable CommandReport open(List<Path> places, CommandSpec spec, boolean overwrite) {
    return places.isEmpty() ? null : new CommandReport(spec, places, overwrite);
  }

  /** The beginning of a report of a command. */
  static ReportBuilder begin(CommandSpec spec) {
    return new ReportBuilder(spec.name(), Main.words(spec));
  }

  ReportBuilder builder() {
    return builder;
  }

  Stages stages() {
    return stages;
  }

  /** Writes the report of a command whose JSON has no keys of its own. */
  void publish() {
    publish(JsonReport.object());
  }

  /** Writes the report, and says where a page lies. */
  void publish(ObjectNode own) {
    files.publish(own, builder.build());
    places.stream()
        .filter(ReportFile::isPage)
        .forEach(page -> spec.commandLine().getOut().println("report: " + page));
  }

  @Override
  public void close() {
    stages.close();
    files.close();
  }
}
