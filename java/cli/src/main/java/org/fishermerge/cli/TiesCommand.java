package org.fishermerge.cli;

import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TensorSetting;
import picocli.CommandLine.Command;

/** {@code ties}: trim, elect signs, merge. */
@Command(
    name = "ties",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Keeps the largest differences of each tensor, elects a sign for each element, and merges"
            + " those of that sign (Yadav et al. 2023), as mergekit's ties does.")
final class TiesCommand extends SparseMergeCommand {
  @Override
  MergeRule rule() {
    return rule(Trim.MAGNITUDE, TensorSetting.of(0), true, true, Rescale.NONE, 0);
  }
}
