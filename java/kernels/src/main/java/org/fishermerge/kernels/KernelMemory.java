package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Memory for operands of the Fisher accumulations of {@link Kernels}: the process's own, or a GPU's
 * ({@link Kernels#memory}). Segments of a GPU's memory are addresses on the device: only kernels
 * and the methods here may use them, and reading one in Java may end the process. All of it is
 * freed at once by {@link #close}. Methods throw {@link IllegalStateException} where the GPU fails
 * or has too little memory. Not thread-safe.
 */
public interface KernelMemory extends AutoCloseable {
  /** New memory of zeros, aligned to 64 bytes or more. */
  MemorySegment allocate(long bytes);

  /** Sets all of a segment of this memory to zero. */
  void clear(MemorySegment segment);

  /**
   * Copies into this memory.
   *
   * @param from off-heap, in the process's own memory
   * @param to in this memory, of the same size
   * @throws IllegalArgumentException where a GPU's memory is this one and the sizes differ
   */
  void write(MemorySegment from, MemorySegment to);

  /**
   * Copies out of this memory, once all kernels that were called before are finished.
   *
   * @param from in this memory
   * @param to off-heap, in the process's own memory, of the same size
   * @throws IllegalArgumentException where a GPU's memory is this one and the sizes differ
   */
  void read(MemorySegment from, MemorySegment to);

  /** Whether this is the process's own memory, so that segments may be read in place. */
  boolean isHost();

  /** Frees all segments, which must not be used any more. */
  @Override
  void close();
}
