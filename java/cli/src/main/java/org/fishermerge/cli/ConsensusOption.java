package org.fishermerge.cli;

import picocli.CommandLine.Option;

/** Which differences of several models are summed up. */
final class ConsensusOption {
  /** What is summed up. */
  private enum Consensus {
    /** All differences. */
    LINEAR,
    /** Those of the elected sign. */
    TIES
  }

  @Option(
      names = "--consensus",
      paramLabel = "linear|ties",
      description =
          "Merge all differences, or those of an elected sign (default: ${DEFAULT-VALUE}).")
  private Consensus consensus = Consensus.LINEAR;

  boolean electsSigns() {
    return consensus == Consensus.TIES;
  }
}
