package org.fishermerge.estimate;

import java.nio.file.Path;
import org.fishermerge.torch.BatchSizeCheck;

/**
 * Told of what an {@link Estimation} does. Every method is called on the thread that runs the
 * estimation, and does nothing unless it is overridden.
 */
public interface EstimationListener {
  /** One that ignores everything. */
  EstimationListener NONE = new EstimationListener() {};

  /** The model is open; rows are read and the model is looked at. */
  default void preparing() {}

  /**
   * Something is odd about the input but does not stop its use.
   *
   * @param sentence for the user
   */
  default void warning(String sentence) {}

  /**
   * Something that a user may want to know about how the estimate is made, or about the estimate.
   *
   * @param sentence for the user
   */
  default void remark(String sentence) {}

  /** The batch size is chosen, and its memory is worth a line. It is refused next if too large. */
  default void memoryPlanned(MemoryPlan plan, int batchSize) {}

  /**
   * The disk that the run takes; told with its memory.
   *
   * @param file bytes of the result
   * @param progress bytes of what is saved while it runs, at most
   * @param free bytes; the largest number if that is unknown
   */
  default void diskPlanned(long file, long progress, long free) {}

  /**
   * The run is over.
   *
   * @param peak the most memory that the process has had, in bytes
   * @param planned what the plan said, in bytes
   */
  default void memoryUsed(long peak, long planned) {}

  /**
   * Two batch sizes were compared and agree.
   *
   * @param examples in the larger batch
   */
  default void checked(int examples, BatchSizeCheck.Deviation deviation) {}

  /** Batches follow, of that many examples in all. */
  default void running(long examples) {}

  /** A batch is done, and so many examples with it. */
  default void advanced(long examples) {}

  /** The run goes on where another one like it was stopped. */
  default void resumed(long done, long examples, Path file) {}

  /** What is summed up so far was saved. */
  default void saved(long done, Path file) {}

  /** The Fisher is written, or the run has failed; nothing is told after this. */
  default void ended() {}
}
