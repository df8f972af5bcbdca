package org.fishermerge.cli.tune;

import java.util.List;
import java.util.Locale;
import java.util.function.DoubleFunction;
import org.fishermerge.merge.MergeRule;

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

  /** A damping as options and tables have it. */
  public static String text(double damping) {
    return String.format(Locale.ROOT, "%.3g", damping).replaceAll("(\\.\\d*?)0+$", "$1")
        .replaceAll("\\.$", "");
  }
}
