package org.fishermerge.torch.statistic;

import org.fishermerge.torch.runtime.NativeHeap;

/** The most memory that malloc had handed out at any layer of a backward pass. */
final class PeakMemory {
  private static final long NOT_WATCHED = -1;

  private long peak = NOT_WATCHED;

  /** Looks, if it is asked to at the time. */
  void look() {
    if (peak != NOT_WATCHED) {
      peak = Math.max(peak, NativeHeap.used().orElseThrow());
    }
  }

  /** As {@link Statistic#peakOf}. */
  long of(Runnable backward) {
    peak = 0;
    try {
      backward.run();
      return peak;
    } finally {
      peak = NOT_WATCHED;
    }
  }
}
