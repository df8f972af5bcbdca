package org.fishermerge.cli;

import java.util.List;
import picocli.CommandLine.Option;

/** What models that are used together may disagree on. */
final class DifferenceOptions {
  @Option(
      names = "--allow-different",
      paramLabel = "KEY",
      description =
          "A key of settings files (config.json and others) that the models may disagree on; the"
              + " base's value counts. Repeatable. docs/compatibility.md says what is compared.")
  List<String> keys = List.of();
}
