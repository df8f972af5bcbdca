package org.fishermerge.merge;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * Each element weighted by its Fisher information (Matena and Raffel 2022):
 *
 * <pre>
 * theta_j = sum_i c'_i (F_ij + eps) theta_ij / sum_i c'_i (F_ij + eps)
 * </pre>
 *
 * with F_i the mean Fisher of model i, eps the minimal Fisher and c'_i the model's coefficient,
 * normalised as {@link Normalization} says. eps = 0 is the limit eps to 0 from above: where every
 * Fisher is zero, the coefficients alone weigh. Moved along the line from the base to it, as an
 * {@link Average} is.
 *
 * @param minimalFisher eps, finite and not negative, added to the mean Fisher of every model
 * @param scalingFactor s in base + s (theta - base), finite; at 1 the base has no share
 */
public record DiagonalFisher(
    Normalization normalization, double minimalFisher, double scalingFactor)
    implements ElementwiseRule {
  /** FusionBench's {@code minimal_fisher_weight}. */
  public static final double DEFAULT_MINIMAL_FISHER = 1e-6;

  /** FusionBench's normalisation and minimal Fisher. */
  public static final DiagonalFisher DEFAULT =
      new DiagonalFisher(Normalization.MODEL, DEFAULT_MINIMAL_FISHER);

  /**
   * Stands in for a minimal Fisher of 0: far below any F32 or F16 Fisher, yet far enough above the
   * smallest double that products with coefficients and parameters keep their precision.
   */
  private static final double FLOOR = 1e-200;

  /** The weighted average itself. */
  public DiagonalFisher(Normalization normalization, double minimalFisher) {
    this(normalization, minimalFisher, 1);
  }

  /**
   * Checks the settings.
   *
   * @throws InputException if the minimal Fisher is negative or not finite, or the factor not
   *     finite
   */
  public DiagonalFisher {
    if (!Double.isFinite(minimalFisher) || minimalFisher < 0) {
      throw new InputException(
          "--minimal-fisher is " + minimalFisher + "; it is finite and not negative");
    }
    Average.requireScalingFactor(scalingFactor);
  }

  @Override
  public double scaling() {
    return scalingFactor;
  }

  @Override
  public String title() {
    return "Fisher merge";
  }

  @Override
  public Set<StatisticKind> statistics() {
    return Set.of(StatisticKind.DIAGONAL_FISHER);
  }

  @Override
  public Optional<String> settings() {
    return Optional.of(
        "normalisation %s, minimal Fisher %s%s"
            .formatted(
                normalization.name().toLowerCase(Locale.ROOT),
                minimalFisher,
                Average.scalingSetting(scalingFactor).map(text -> ", " + text).orElse("")));
  }

  @Override
  public boolean takesNegativeCoefficients() {
    return false;
  }

  @Override
  public double minimalStatistic() {
    return minimalFisher;
  }

  @Override
  public List<Weight> weights(List<Operand> operands) {
    double total = 0;
    for (Operand operand : operands) {
      total += isWeighed(operand) ? 1 / divisor(operand) : 0;
    }
    double sum = total > 0 && isNormalized() ? total : 1;
    return operands.stream()
        .map(operand -> {
          if (!isWeighed(operand)) {
            // The limit of (0 + eps) / (0 + eps): a Fisher of zeros weighs 1, in units of the
            // others.
            return new Weight(0, operand.coefficient() / sum);
          }
          double scale = operand.coefficient() / divisor(operand) / sum;
          return new Weight(scale / operand.examples(), scale * Math.max(minimalFisher, FLOOR));
        })
        .toList();
  }

  /** {@inheritDoc} With normalisation by tensor, as far as the coefficients decide. */
  @Override
  public List<Double> shares(List<Operand> operands) {
    if (normalization != Normalization.MODEL) {
      return Average.sharesByCoefficient(operands);
    }
    // An infinite weight (a norm of zero and no minimal Fisher) leaves nothing to the others.
    boolean infinite = operands.stream().anyMatch(o -> divisor(o) == 0 && o.coefficient() > 0);
    List<Double> weights =
        operands.stream()
            .map(operand -> {
              if (infinite) {
                return divisor(operand) == 0 ? operand.coefficient() : 0;
              }
              return operand.coefficient() == 0 ? 0 : operand.coefficient() / divisor(operand);
            })
            .toList();
    double sum = weights.stream().reduce(0.0, Double::sum);
    return weights.stream().map(weight -> weight / sum).toList();
  }

  private boolean isNormalized() {
    return normalization != Normalization.NONE;
  }

  /** By what a model's coefficient is divided. */
  private double divisor(Operand operand) {
    return isNormalized() ? operand.norm() + minimalFisher : 1;
  }

  private boolean isWeighed(Operand operand) {
    return divisor(operand) > 0;
  }
}
