package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TensorSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code ties}: trim, elect signs, merge. */
@Command(
    name = "ties",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Keeps the largest differences, elects a sign for each element, and merges"
            + " those of that sign (Yadav et al. 2023), as mergekit's ties does.")
final class TiesCommand extends SparseMergeCommand {
  /** Whose largest differences are kept. */
  enum Of {
    /** Each tensor's. */
    TENSOR,
    /** The whole model's. */
    MODEL
  }

  @Option(
      names = "--trim",
      paramLabel = "tensor|model",
      description =
          "Keep the largest differences of each tensor, as mergekit does, or of the whole model, as"
              + " FusionBench does (default: tensor).")
  private Of trim = Of.TENSOR;

  @Override
  MergeRule rule() {
    Trim trimmed = trim == Of.TENSOR ? Trim.MAGNITUDE : Trim.MODEL_MAGNITUDE;
    return rule(trimmed, TensorSetting.of(0), true, true, Rescale.NONE, 0);
  }
}
