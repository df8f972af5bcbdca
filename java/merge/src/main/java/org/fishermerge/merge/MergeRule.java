package org.fishermerge.merge;

import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * How the values of several models become those of one. An {@link ElementwiseRule} weights each
 * element by itself, so that one pass over the files applies it; a {@link TensorRule} looks at each
 * tensor as a whole first; a {@link LayerRule} solves for the weights of a layer at once.
 * Immutable, and safe for threads.
 */
public sealed interface MergeRule permits ElementwiseRule, LayerRule, TensorRule {
  /** What messages call a merge by this rule. */
  String title();

  /** What must be known of each model beside its values; empty for values alone. */
  Set<StatisticKind> statistics();

  /**
   * What merges element by element: the rule itself, or what it leaves to another. Of a {@link
   * TensorRule}, a rule with the same operands.
   */
  ElementwiseRule elementwise();

  /** The rule's settings as a line of a plan's text; empty for none. */
  Optional<String> settings();

  /** By what the change from the base is multiplied; 1 where a rule has no such setting. */
  default double scalingFactor() {
    return 1;
  }

  /** Whether a model's coefficient may be below zero. */
  boolean takesNegativeCoefficients();
}
