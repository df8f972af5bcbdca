package org.fishermerge.merge;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * One model that takes part in a merge.
 *
 * @param model a Hugging Face folder or a .safetensors file; with a LoRA adapter, {@code
 *     BASE+ADAPTER}
 * @param fisher its Fisher file; null where models are averaged without Fishers
 * @param coefficient its share {@code c_i}, finite, and not negative unless there are no Fishers;
 *     only ratios matter
 */
public record MergeSource(Path model, @Nullable Path fisher, double coefficient) {}
