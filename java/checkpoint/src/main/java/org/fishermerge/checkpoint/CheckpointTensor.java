package org.fishermerge.checkpoint;

import java.nio.file.Path;

/**
 * A tensor of a checkpoint: where it is, under which stored and canonical name.
 *
 * @param canonicalName as {@link ParameterNames#canonical} gives it
 * @param info the header entry, with the stored name
 * @param file the safetensors file that holds it
 */
public record CheckpointTensor(String canonicalName, TensorInfo info, Path file) {}
