package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * One model's share of a weighted average: at element j its value is {@code values[j]} and its
 * weight {@code scale * fisher[j] + offset}, or {@code offset} where there is no Fisher.
 *
 * @param values off-heap in the process's memory, at least as many elements as are averaged; may be
 *     unaligned
 * @param valueType format of {@code values}
 * @param fisher off-heap, like {@code values}; null for a constant weight
 * @param fisherType format of {@code fisher}; ignored where that is null
 * @param scale factor of the Fisher, for instance coefficient / (examples * norm)
 * @param offset added to the weight, for instance coefficient * minimal Fisher
 */
public record WeightedInput(
    MemorySegment values,
    ElementType valueType,
    @Nullable MemorySegment fisher,
    ElementType fisherType,
    double scale,
    double offset) {}
