package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.AtomicOutput;
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
}
