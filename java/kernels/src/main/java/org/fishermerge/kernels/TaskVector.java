package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * One model's differences from the base, rounded to F32.
 *
 * @param values the model's, off-heap in the process's memory, may be unaligned
 * @param type format of {@code values}
 * @param weight of the differences, used as F32
 * @param rescale by which those that are kept are multiplied, used as F32
 * @param kept which are; the others are 0
 */
public record TaskVector(
    MemorySegment values, ElementType type, double weight, double rescale, Kept kept) {
  /** The same with another factor of those that are kept. */
  public TaskVector withRescale(double factor) {
    return new TaskVector(values, type, weight, factor, kept);
  }
}
