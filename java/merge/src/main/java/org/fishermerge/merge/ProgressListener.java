package org.fishermerge.merge;

/**
 * Told how far a merge is, from the thread that runs it, about every 16 MB. An exception thrown
 * here cancels the merge, which then leaves nothing behind.
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
