package org.fishermerge.cli;

import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.WeightedSum;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code linear}: the weighted average or sum, as mergekit names it. */
@Command(
    name = "linear",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Averages models with a weight each, or sums them up, as mergekit's linear and FusionBench's"
            + " weighted average do.")
final class LinearCommand extends PlainMergeCommand {
  @Option(
      names = "--normalize",
      arity = "1",
      paramLabel = "true|false",
      description = "Divide by the sum of the weights (default: ${DEFAULT-VALUE}).")
  private boolean normalize = true;

  @Override
  MergeRule rule() {
    return normalize ? new Average() : new WeightedSum();
  }
}
