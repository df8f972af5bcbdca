package org.fishermerge.merge;

import java.util.concurrent.CancellationException;

/**
 * Counts the input bytes that a merge has read, tells the listener, and ends the merge if its
 * thread is interrupted.
 */
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
    requireNotInterrupted();
    done += bytes;
    listener.progress(done, Math.max(done, expected));
  }

  /**
   * For work between two calls of {@link #advance} that takes long.
   *
   * @throws CancellationException if this thread is interrupted, which it then still is
   */
  static void requireNotInterrupted() {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException("interrupted; nothing was written");
    }
  }

  long bytesRead() {
    return done;
  }
}
