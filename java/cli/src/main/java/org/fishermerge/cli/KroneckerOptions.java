package org.fishermerge.cli;

import org.fishermerge.merge.Average;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.ElementwiseRule;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.KroneckerFisher.Scale;
import org.fishermerge.merge.Normalization;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Options of {@code merge --rule kronecker}. */
final class KroneckerOptions {
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
      names = "--rest",
      paramLabel = "average|fisher",
      description =
          "With --rule kronecker: what merges everything but linear layers (default: average;"
              + " fisher needs files of fisher --statistic diagonal,kronecker).")
  private @Nullable Rest rest;

  /**
   * The rule.
   *
   * @param weighting how models are normalised, and the rest if it is merged by Fisher
   * @param scalingFactor of layers and the rest
   */
  KroneckerFisher rule(WeightingOptions weighting, double scalingFactor) {
    DiagonalFisher fisher = weighting.rule(scalingFactor);
    ElementwiseRule others = rest == Rest.FISHER ? fisher : new Average(scalingFactor);
    return new KroneckerFisher(
        damping == null ? KroneckerFisher.DEFAULT_DAMPING : damping,
        scale(fisher.normalization()),
        KroneckerFisher.DEFAULT_TOLERANCE,
        KroneckerFisher.DEFAULT_ITERATIONS,
        others,
        scalingFactor);
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
    if (damping != null || rest != null) {
      throw new ParameterException(command, "--damping and --rest go with --rule kronecker");
    }
  }
}
