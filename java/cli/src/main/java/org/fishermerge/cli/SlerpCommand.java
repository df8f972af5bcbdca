package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.Slerp;
import org.fishermerge.merge.TensorSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code slerp}: between two models, along the arc. */
@Command(
    name = "slerp",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Interpolates between two models along the arc between them, tensor by tensor.")
final class SlerpCommand extends PlainMergeCommand {
  @Option(
      names = {"-t", "--t"},
      required = true,
      paramLabel = "T",
      description = "From 0, the first --model, to 1, the second.")
  private double t;

  @Override
  MergeRule rule() {
    return new Slerp(TensorSetting.of(t));
  }
}
