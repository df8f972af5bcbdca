package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;

/** Hands over the values of one tensor when they are needed: see {@link NamedTensors}. */
@FunctionalInterface
public interface TensorReader {
  /**
   * Writes the elements from {@code from} on, in row-major order, in the tensor's dtype and native
   * byte order, until {@code target} is full.
   *
   * <p>Called by the thread that plans or runs the merge, for stretches of any length in any order,
   * and more than once for the same: values must not change. An exception thrown here ends the
   * merge and reaches its caller as it is.
   *
   * @param from first element
   * @param target room for a whole number of elements, on or off the heap, of any alignment; not to
   *     be kept
   */
  void read(long from, MemorySegment target);
}
