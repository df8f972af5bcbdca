package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.Optional;

/**
 * One model that takes part in a merge.
 *
 * @param model a Hugging Face folder or a .safetensors file; with a LoRA adapter, {@code
 *     BASE+ADAPTER}; or the path that stands for tensors in memory
 * @param statistic the file of what the rule needs to know of the model, such as its Fisher file;
 *     empty for rules that need none
 * @param coefficient its share {@code c_i}, finite; whether it may be negative is the rule's to say
 */
public record MergeSource(Path model, Optional<Path> statistic, double coefficient) {
  /** A model by itself, with coefficient 1. */
  public static MergeSource of(Path model) {
    return new MergeSource(model, Optional.empty(), 1);
  }

  /** A model with its statistic file, with coefficient 1. */
  public static MergeSource of(Path model, Path statistic) {
    return new MergeSource(model, Optional.of(statistic), 1);
  }

  /** The same with another coefficient. */
  public MergeSource withCoefficient(double value) {
    return new MergeSource(model, statistic, value);
  }
}
