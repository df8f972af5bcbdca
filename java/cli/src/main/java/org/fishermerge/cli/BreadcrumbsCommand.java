package org.fishermerge.cli;

import java.util.List;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code breadcrumbs}: neither the smallest differences nor the largest. */
@Command(
    name = "breadcrumbs",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Drops the smallest differences of each tensor and its outliers (Davari and Belilovsky"
            + " 2024), as mergekit's breadcrumbs and breadcrumbs_ties do.")
final class BreadcrumbsCommand extends SparseMergeCommand {
  @Option(
      names = "--gamma",
      split = ",",
      paramLabel = "G",
      description =
          "Share of the largest differences that is dropped; one for all models or one for each"
              + " (default: 0.01).")
  private List<Double> gamma = List.of(SparseTaskArithmetic.DEFAULT_GAMMA);

  @Mixin private ConsensusOption consensus = new ConsensusOption();

  @Override
  MergeRule rule() {
    return rule(
        Trim.OUTLIERS, setting("--gamma", gamma), consensus.electsSigns(), false, Rescale.NONE, 0);
  }
}
