package org.fishermerge.merge;

import java.util.Set;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * A rule that looks at each tensor as a whole before it merges its elements. It needs no statistic
 * files. {@link TensorMerge} applies it; where its operations have no kernel for a GPU, they run on
 * the CPU.
 */
public sealed interface TensorRule extends MergeRule
    permits SparseTaskArithmetic, Slerp, WeightedSum {
  /** How often the models are read. */
  int passes();

  @Override
  default Set<StatisticKind> statistics() {
    return Set.of();
  }

  @Override
  default boolean takesNegativeCoefficients() {
    return true;
  }
}
