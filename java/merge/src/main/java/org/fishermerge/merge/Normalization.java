package org.fishermerge.merge;

/**
 * How the Fishers of different models are brought to one scale before they are compared. With
 * {@code norm_i} the L2 norm of model i's mean Fisher and {@code eps} the minimal Fisher, model i's
 * coefficient is multiplied by {@code 1 / (norm_i + eps)}, scaled to sum to 1 over the models.
 */
public enum Normalization {
  /** Fishers are compared as they are. */
  NONE,
  /**
   * One norm per model, over all merged parameters: FusionBench's {@code normalize_fisher_weight}.
   */
  MODEL,
  /** One norm per model and tensor. */
  TENSOR
}
