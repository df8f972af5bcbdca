package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TensorSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code dare}: drop and rescale. */
@Command(
    name = "dare",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Drops differences at random and rescales the others (Yu et al. 2024), as mergekit's"
            + " dare_linear and dare_ties do.")
final class DareCommand extends SparseMergeCommand {
  /** What is summed up. */
  enum Consensus {
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

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of what is dropped (default: ${DEFAULT-VALUE}).")
  private long seed = 0;

  @Override
  MergeRule rule() {
    return rule(
        Trim.RANDOM, TensorSetting.of(0), consensus == Consensus.TIES, false, Rescale.L1, seed);
  }
}
