package org.fishermerge.cli;

import org.fishermerge.checkpoint.InputException;
import org.fishermerge.merge.Average;
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

  @Option(
      names = "--scaling-factor",
      paramLabel = "S",
      description =
          "With --rule kronecker: base + S * (merged - base), of all parameters (default: 1).")
  private @Nullable Double scalingFactor;

  /**
   * The rule.
   *
   * @param weighting how models are normalised, and the rest if it is merged by Fisher
   */
  KroneckerFisher rule(WeightingOptions weighting) {
    double s = scalingFactor == null ? 1 : scalingFactor;
    if (rest == Rest.FISHER && s != 1) {
      throw new InputException("--scaling-factor " + s + ": goes with --rest average only");
    }
    ElementwiseRule others = rest == Rest.FISHER ? weighting.rule() : new Average(s);
    double ofFactors = damping == null ? KroneckerFisher.DEFAULT_DAMPING : damping;
    return rule(ofFactors, weighting, others, s);
  }

  /** The rule with this damping, everything else as without options. */
  static KroneckerFisher rule(double damping, WeightingOptions weighting) {
    return rule(damping, weighting, new Average(), 1);
  }

  private static KroneckerFisher rule(
      double damping, WeightingOptions weighting, ElementwiseRule rest, double scalingFactor) {
    return new KroneckerFisher(
        damping,
        scale(weighting.rule().normalization()),
        KroneckerFisher.DEFAULT_TOLERANCE,
        KroneckerFisher.DEFAULT_ITERATIONS,
        rest,
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
    if (damping != null || rest != null || scalingFactor != null) {
      throw new ParameterException(
          command, "--damping, --rest and --scaling-factor go with --rule kronecker");
    }
  }
}
