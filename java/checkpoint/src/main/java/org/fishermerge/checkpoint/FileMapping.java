package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;

/**
 * A file that is mapped as a whole, header included.
 *
 * @param data all of its bytes
 * @param descriptor the number by which the system knows the same open file, for reading, and of an
 *     output for writing too; -1 where there is none. Both are valid until what gave them is
 *     closed.
 */
public record FileMapping(MemorySegment data, int descriptor) {}
