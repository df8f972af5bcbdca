package org.fishermerge.cli;

import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.SparseTaskArithmetic;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TensorSetting;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Task arithmetic with trimmed task vectors, with mergekit's parameters. */
abstract class SparseMergeCommand extends PlainMergeCommand {
  @Option(
      names = "--density",
      split = ",",
      required = true,
      paramLabel = "D",
      description =
          "Share of the differences from the base that is kept, from 0 to 1; one for all"
              + " models or one for each.")
  private List<Double> density = List.of();

  @Option(
      names = {"--scaling-factor", "--lambda"},
      paramLabel = "S",
      description = "Factor of all that is added to the base (default: ${DEFAULT-VALUE}).")
  private double scalingFactor = 1;

  @Option(
      names = "--normalize",
      arity = "1",
      paramLabel = "true|false",
      description =
          "Divide the sum by that of the coefficients that count (default: true for ties, otherwise"
              + " false, as in mergekit).")
  private @Nullable Boolean normalize;

  @Option(
      names = "--rescale",
      paramLabel = "none|l1|density",
      description =
          "Multiply what is kept so that a tensor's L1 norm stays, as mergekit's rescale does, or by"
              + " 1 / density, as FusionBench does (default: l1 for dare, otherwise none).")
  private @Nullable Rescale rescale;

  /** A setting with a value for all models or for each. */
  final TensorSetting setting(String option, List<Double> values) {
    if (values.size() != 1 && values.size() != models()) {
      throw new InputException(
          option + " has " + values.size() + " values for " + models() + " models");
    }
    return TensorSetting.of(values);
  }

  /**
   * The rule.
   *
   * @param gamma share of outliers, where the rule has one
   * @param normalizes unless the user says otherwise
   * @param rescales unless the user says otherwise
   */
  final MergeRule rule(
      Trim trim,
      TensorSetting gamma,
      boolean electsSigns,
      boolean normalizes,
      Rescale rescales,
      long seed) {
    return new SparseTaskArithmetic(
        trim,
        setting("--density", density),
        gamma,
        electsSigns,
        normalize == null ? normalizes : normalize,
        rescale == null ? rescales : rescale,
        scalingFactor,
        seed);
  }
}
