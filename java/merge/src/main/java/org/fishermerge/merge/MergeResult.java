package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.List;

/**
 * What a merge made.
 *
 * @param output the folder or file that was written; with a sink, what the request calls it
 * @param mergedElements parameters merged
 * @param bytesRead input bytes read, over all passes
 * @param bytesWritten bytes of tensor data written
 * @param models one entry per model of the request, in its order
 * @param worstResidual of a rule by layer, how far the worst of its layers is from solving its
 *     system, as {@link LayerRule.Solution} has it; 0 for other rules and direct solves
 * @param iterations of a rule by layer, those of all layers; 0 for other rules and direct solves
 * @param shares what each model had to say in each tensor that was merged by a statistic or by
 *     sparse task arithmetic, if the request asked for it; without the copies of tied tensors
 * @param warnings the plan's warnings and those that only the values could show
 */
public record MergeResult(
    Path output,
    long mergedElements,
    long bytesRead,
    long bytesWritten,
    List<ModelStatistics> models,
    double worstResidual,
    long iterations,
    List<TensorShares> shares,
    List<String> warnings) {
  /**
   * What the merge learned about one model's Fisher.
   *
   * @param norm L2 norm of the mean Fisher over all merged parameters; NaN when no pass needed it
   *     (normalisation none, or an average without Fishers)
   * @param weight the model's coefficient times its normalisation, scaled to sum to 1 over the
   *     models; with normalisation per tensor, the coefficient alone
   * @param belowMinimal merged parameters whose mean Fisher is below the minimal Fisher (counted
   *     exactly, over all of them); 0 without Fishers
   */
  public record ModelStatistics(Path model, double norm, double weight, long belowMinimal) {}
}
