package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * One operand among several whose formats may differ.
 *
 * @param data off-heap, may be unaligned
 * @param type format of {@code data}
 */
public record TypedValues(MemorySegment data, ElementType type) {}
