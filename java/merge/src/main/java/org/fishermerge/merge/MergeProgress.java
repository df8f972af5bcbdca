package org.fishermerge.merge;

/** Counts the input bytes that a merge has read, and tells the listener. */
final class MergeProgress {
  private final ProgressListener listener;
  private final long expected;
  private long done;

  /**
   * @param expected bytes that the plan reads; more are read where a pass is made again
   */
  MergeProgress(ProgressListener listener, long expected) {
    this.listener = listener;
    this.expected = expected;
  }

  void advance(long bytes) {
    done += bytes;
    listener.progress(done, Math.max(done, expected));
  }

  long bytesRead() {
    return done;
  }
}
