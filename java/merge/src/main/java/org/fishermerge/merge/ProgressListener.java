package org.fishermerge.merge;

/**
 * Told how far a merge is, from the thread that runs it, after each step: of element-wise rules
 * about 128 MB of input (1 GB on a GPU), of others a tensor or a layer. An exception thrown here
 * ends the merge, which then leaves nothing behind. An interrupted thread ends it at the same
 * moments.
 */
@FunctionalInterface
public interface ProgressListener {
  /** Ignores all progress. */
  ProgressListener NONE = (bytesDone, bytesTotal) -> {};

  /**
   * Input bytes read so far over all passes.
   *
   * @param bytesDone never falls, ends at {@code bytesTotal}
   * @param bytesTotal {@link MergePlan#bytesRead()}
   */
  void progress(long bytesDone, long bytesTotal);
}
