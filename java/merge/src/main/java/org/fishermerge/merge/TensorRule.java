package org.fishermerge.merge;

import java.util.Collection;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
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

  /**
   * Refuses settings that cannot be, or have no effect.
   *
   * @param tensors the base's names of all parameters that are merged
   * @param models how many models are merged
   * @throws InputException if there are some
   */
  default void checkSettings(Collection<String> tensors, int models) {}

  /**
   * Refuses what can be told without opening a file.
   *
   * @throws InputException if the rule does not merge so many models, or takes no coefficients and
   *     there are some
   */
  default void checkModels(int models, boolean haveCoefficients) {}

  /** How often the magnitudes of a model's tensor are ranked before it is merged. */
  default int rankings() {
    return 0;
  }

  @Override
  default Set<StatisticKind> statistics() {
    return Set.of();
  }

  @Override
  default boolean takesNegativeCoefficients() {
    return true;
  }
}
