package org.fishermerge.cli;

import org.fishermerge.merge.Average;
import org.fishermerge.merge.ElementwiseRule;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.KroneckerFisher.Scale;
import org.fishermerge.merge.KroneckerFisher.Tolerance;
import org.fishermerge.merge.Normalization;
import org.fishermerge.merge.RegMean;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Options of {@code merge --rule kronecker} and {@code merge --rule regmean}. */
final class LayerRuleOptions {
  /** What merges everything but linear layers. */
  enum Rest {
    /** The average. */
    AVERAGE,
    /** The diagonal Fisher. */
    FISHER
  }

  @Option(
      names = "--damping",
      paramLabel = "D",
      description =
          "With --rule kronecker: added to the diagonal of each factor, as a share of its mean"
              + " (default: 0.01). More where models are far apart.")
  private @Nullable Double damping;

  @Option(
      names = "--tolerance",
      paramLabel = "T",
      description =
          "With --rule kronecker: how much of the average's residual may be left when a layer counts"
              + " as solved, above 0, 1 at most (default: 1e-6; 0.02 for layers of more than about"
              + " 400 x 400, which decide how long a merge takes). Layers are solved in single"
              + " precision from 1e-3 on, in double below.")
  private @Nullable Double tolerance;

  @Option(
      names = "--off-diagonal",
      paramLabel = "R",
      description =
          "With --rule regmean: what Gram matrices are multiplied by off their diagonals, from 0 to"
              + " 1 (default: 0.95); FusionBench's reduce_non_diagonal_ratio.")
  private @Nullable Double offDiagonal;

  @Option(
      names = "--rest",
      paramLabel = "average|fisher",
      description =
          "With --rule kronecker or regmean: what merges everything but linear layers (default:"
              + " average; fisher needs files of fisher --statistic diagonal,kronecker or"
              + " diagonal,gram).")
  private @Nullable Rest rest;

  /**
   * By Kronecker factors.
   *
   * @param weighting how models are normalised, and the rest if it is merged by Fisher
   * @param scalingFactor of layers and the rest
   */
  KroneckerFisher kronecker(WeightingOptions weighting, double scalingFactor, CommandLine command) {
    requireUnused(command, "--off-diagonal", offDiagonal, "--rule regmean");
    return kronecker(
        damping == null ? KroneckerFisher.DEFAULT_DAMPING : damping,
        tolerance == null ? Tolerance.DEFAULT : Tolerance.ofAll(tolerance),
        weighting,
        others(weighting, scalingFactor),
        scalingFactor);
  }

  /** By Kronecker factors with this damping, everything else as without options. */
  static KroneckerFisher kronecker(double damping, WeightingOptions weighting) {
    return kronecker(damping, Tolerance.DEFAULT, weighting, new Average(), 1);
  }

  private static KroneckerFisher kronecker(
      double damping,
      Tolerance tolerance,
      WeightingOptions weighting,
      ElementwiseRule rest,
      double scalingFactor) {
    return new KroneckerFisher(
        damping,
        scale(weighting.rule(1).normalization()),
        tolerance,
        KroneckerFisher.DEFAULT_ITERATIONS,
        rest,
        scalingFactor);
  }

  /**
   * By regression means.
   *
   * @param weighting the rest if it is merged by Fisher
   * @param scalingFactor of layers and the rest
   */
  RegMean regMean(WeightingOptions weighting, double scalingFactor, CommandLine command) {
    requireUnused(command, "--damping", damping, "--rule kronecker");
    requireUnused(command, "--tolerance", tolerance, "--rule kronecker");
    return new RegMean(
        offDiagonal == null ? RegMean.DEFAULT_OFF_DIAGONAL : offDiagonal,
        others(weighting, scalingFactor),
        scalingFactor);
  }

  private ElementwiseRule others(WeightingOptions weighting, double scalingFactor) {
    return rest == Rest.FISHER ? weighting.rule(scalingFactor) : new Average(scalingFactor);
  }

  private static Scale scale(Normalization normalization) {
    return switch (normalization) {
      case MODEL -> Scale.TRACE;
      case TENSOR -> Scale.LAYER;
      case NONE -> Scale.NONE;
    };
  }

  /** Refuses options that have no effect. */
  void requireUnused(CommandLine command) {
    requireUnused(command, "--damping", damping, "--rule kronecker");
    requireUnused(command, "--tolerance", tolerance, "--rule kronecker");
    requireUnused(command, "--off-diagonal", offDiagonal, "--rule regmean");
    requireUnused(command, "--rest", rest, "--rule kronecker or regmean");
  }

  private static void requireUnused(
      CommandLine command, String option, @Nullable Object value, String with) {
    if (value != null) {
      throw new ParameterException(command, option + " goes with " + with);
    }
  }
}
