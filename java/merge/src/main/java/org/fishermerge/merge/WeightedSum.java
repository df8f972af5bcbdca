package org.fishermerge.merge;

import java.util.Optional;

/**
 * The sum of the models' values times their coefficients, {@code sum_i c_i theta_i}: mergekit's
 * {@code linear} without {@code normalize}, and FusionBench's weighted average without it. The
 * coefficients sum to more than 0.
 */
public record WeightedSum() implements TensorRule {
  @Override
  public String title() {
    return "weighted sum";
  }

  @Override
  public Optional<String> settings() {
    return Optional.empty();
  }

  @Override
  public int passes() {
    return 1;
  }

  /** The models, without a share of the base. */
  @Override
  public ElementwiseRule elementwise() {
    return new Average();
  }
}
