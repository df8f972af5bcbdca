package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Memory that the Fisher kernels work on: the process's own, or a GPU's, whose segments are
 * addresses that only kernels and copies may use. It is freed as a whole.
 */
public interface KernelMemory extends AutoCloseable {
  /** New memory of zeros. */
  MemorySegment allocate(long bytes);

  /** Sets all of a segment of this memory to zero. */
  void clear(MemorySegment segment);

  /** Fills a segment of this memory with what lies in the process's own, of the same size. */
  void write(MemorySegment from, MemorySegment to);

  /** The other way round; what was done to the segment before is finished then. */
  void read(MemorySegment from, MemorySegment to);

  /** Whether this is the process's own memory, so that segments may be read in place. */
  boolean isHost();

  @Override
  void close();
}
