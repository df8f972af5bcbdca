package org.fishermerge.cli.tune;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleFunction;
import java.util.stream.Stream;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.ElementwiseRule;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.Normalization;
import org.fishermerge.merge.RegMean;

/**
 * A merge as a direction from the base: a search moves along it by a scale, {@code base + scale *
 * (merged - base)}, without merging again.
 *
 * @param command what makes this merge, but for the models and the scale
 * @param rule at scale 1
 */
public record Direction(String name, List<String> command, MergeRule rule) {
  /** Directions by one rule: a single one, or one for each damping. */
  public sealed interface Family {
    /** Without a setting. */
    record Single(Direction direction) implements Family {}

    /** With a damping, which is at first {@code start}. */
    record Damped(double start, DoubleFunction<Direction> at) implements Family {}
  }

  /** By the diagonal Fisher; the rule's scale counts nothing. */
  public static Family diagonal(DiagonalFisher rule) {
    return new Family.Single(
        new Direction(
            "diagonal Fisher",
            words(List.of("merge", "--rule", "fisher"), options(rule)),
            atScale1(rule)));
  }

  private static List<String> words(List<String> rule, List<String> options) {
    return Stream.concat(rule.stream(), options.stream()).toList();
  }

  /** Whatever of the rule is not the command's default. */
  private static List<String> options(DiagonalFisher rule) {
    List<String> options = new ArrayList<>();
    if (rule.normalization() != Normalization.MODEL) {
      options.addAll(List.of("--normalize", rule.normalization().name().toLowerCase(Locale.ROOT)));
    }
    if (rule.minimalFisher() != DiagonalFisher.DEFAULT_MINIMAL_FISHER) {
      options.addAll(List.of("--minimal-fisher", Double.toString(rule.minimalFisher())));
    }
    return options;
  }

  private static List<String> options(KroneckerFisher rule) {
    List<String> options = new ArrayList<>();
    switch (rule.scale()) {
      case TRACE -> {}
      case LAYER -> options.addAll(List.of("--normalize", "tensor"));
      case NONE -> options.addAll(List.of("--normalize", "none"));
    }
    if (rule.rest() instanceof DiagonalFisher diagonal) {
      options.addAll(List.of("--rest", "fisher"));
      if (diagonal.minimalFisher() != DiagonalFisher.DEFAULT_MINIMAL_FISHER) {
        options.addAll(List.of("--minimal-fisher", Double.toString(diagonal.minimalFisher())));
      }
    }
    return options;
  }

  private static ElementwiseRule atScale1(ElementwiseRule rule) {
    return rule instanceof DiagonalFisher diagonal
        ? new DiagonalFisher(diagonal.normalization(), diagonal.minimalFisher())
        : new Average();
  }

  /** By regression means, everything else averaged. */
  public static Family regMean(double offDiagonal) {
    return new Family.Single(
        new Direction(
            "RegMean",
            List.of("merge", "--rule", "regmean", "--off-diagonal", text(offDiagonal)),
            new RegMean(offDiagonal, new Average(), 1)));
  }

  /**
   * By Kronecker factors at any damping; that of the rule comes first, its scale counts nothing.
   */
  public static Family kronecker(KroneckerFisher rule) {
    return new Family.Damped(
        rule.damping() > 0 ? rule.damping() : KroneckerFisher.DEFAULT_DAMPING,
        damping -> {
          String text = text(damping);
          return new Direction(
              "Kronecker, damping " + text,
              words(List.of("merge", "--rule", "kronecker", "--damping", text), options(rule)),
              new KroneckerFisher(
                  Double.parseDouble(text),
                  rule.scale(),
                  rule.tolerance(),
                  rule.iterations(),
                  atScale1(rule.rest()),
                  1));
        });
  }

  /** A setting to three digits, as options and tables have it. */
  private static String text(double setting) {
    return new BigDecimal(setting).round(new MathContext(3)).stripTrailingZeros().toPlainString();
  }
}
