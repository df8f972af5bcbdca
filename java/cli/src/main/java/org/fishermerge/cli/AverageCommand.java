package org.fishermerge.cli;

import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRule;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code average}: the plain average of several models, the yardstick of every merge. */
@Command(
    name = "average",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Averages models without Fisher information.")
final class AverageCommand extends PlainMergeCommand {
  @Mixin private ScalingOption scaling = new ScalingOption();

  @Override
  MergeRule rule() {
    return new Average(scaling.factor);
  }
}
