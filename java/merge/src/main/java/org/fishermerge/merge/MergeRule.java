package org.fishermerge.merge;

import java.util.Optional;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * How the values of several models become those of one. An {@link ElementwiseRule} weights each
 * element by itself, so that one pass over the files applies it. Immutable, and safe for threads.
 */
public sealed interface MergeRule permits ElementwiseRule {
  /** What messages call a merge by this rule. */
  String title();

  /** What must be known of each model beside its values; empty for values alone. */
  Optional<StatisticKind> statistic();

  /** The rule's settings as a line of a plan's text; empty for none. */
  Optional<String> settings();

  /** Whether a model's coefficient may be below zero. */
  boolean takesNegativeCoefficients();
}
