package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.TaskArithmetic;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code task-arithmetic}: {@code base + s sum_i c_i (theta_i - base)}. */
@Command(
    name = "task-arithmetic",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Adds what fine-tuning changed to the base: base + S * sum of C * (model - base).")
final class TaskArithmeticCommand extends PlainMergeCommand {
  @Option(
      names = "--scaling-factor",
      paramLabel = "S",
      description =
          "Factor of all differences (default: ${DEFAULT-VALUE}, FusionBench's scaling_factor).")
  private double scalingFactor = TaskArithmetic.DEFAULT_SCALING_FACTOR;

  @Override
  MergeRule rule() {
    return new TaskArithmetic(scalingFactor);
  }
}
