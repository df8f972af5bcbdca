package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Values in one of the formats of {@link ElementType}.
 *
 * @param data off-heap in the process's memory, may be unaligned
 * @param type format of {@code data}
 */
public record TypedValues(MemorySegment data, ElementType type) {}
