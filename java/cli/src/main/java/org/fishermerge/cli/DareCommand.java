package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TensorSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
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
  @Mixin private ConsensusOption consensus = new ConsensusOption();

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of what is dropped (default: ${DEFAULT-VALUE}).")
  private long seed = 0;

  @Override
  MergeRule rule() {
    return rule(Trim.RANDOM, TensorSetting.of(0), consensus.electsSigns(), false, Rescale.L1, seed);
  }
}
