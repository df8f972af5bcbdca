package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Takes the tensors of a merge's result in place of a file. Values are in row-major order, in the
 * tensor's dtype and native byte order. All calls come from the thread that runs the merge; an
 * exception thrown by one ends the merge and reaches its caller as it is.
 *
 * <p>Unlike a file, what was handed over stays when a merge fails later: until it has returned, the
 * values count for nothing.
 */
@FunctionalInterface
public interface TensorSink {
  /**
   * Where a tensor's values are to be written. Asked for every tensor before anything is computed.
   *
   * @param tensor name, dtype and shape; its place in a file has no meaning
   * @return exactly the tensor's bytes, writable, of any alignment, on or off the heap (off the
   *     heap nothing is copied), apart from the inputs, and alive and accessible by this thread
   *     until the merge returns; or null for memory of the merge's own, which is freed after {@link
   *     #accept}
   */
  default @Nullable MemorySegment memory(TensorInfo tensor) {
    return null;
  }

  /**
   * A tensor is done. Each comes once, in no particular order; again only where the data of a
   * statistic turn out not to have the sums that it states, and then the last values count.
   *
   * @param values the memory that was given for it, or else the merge's own: read-only, valid
   *     during the call
   */
  void accept(TensorInfo tensor, MemorySegment values);
}
