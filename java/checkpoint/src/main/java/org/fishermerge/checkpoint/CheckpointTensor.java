package org.fishermerge.checkpoint;

import java.nio.file.Path;

/**
 * A tensor of a checkpoint: where it is, under which names.
 *
 * @param canonicalName as {@link ParameterNames#canonical} gives it
 * @param name the stored name without what training wrappers put into it: the model's own
 * @param info the header entry, with the stored name
 * @param file the safetensors file that holds it
 */
public record CheckpointTensor(String canonicalName, String name, TensorInfo info, Path file) {}
