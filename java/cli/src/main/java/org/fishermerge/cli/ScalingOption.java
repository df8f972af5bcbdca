package org.fishermerge.cli;

import picocli.CommandLine.Option;

/** How far a merge goes from the base. */
final class ScalingOption {
  @Option(
      names = "--scaling-factor",
      paramLabel = "S",
      description =
          "base + S * (merged - base), of all merged parameters (default: ${DEFAULT-VALUE}).")
  double factor = 1;
}
