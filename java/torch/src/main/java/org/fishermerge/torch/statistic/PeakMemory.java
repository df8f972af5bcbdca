package org.fishermerge.torch.statistic;

import org.fishermerge.torch.runtime.NativeHeap;

/** The most memory that malloc had handed out at any layer of some passes. */
final class PeakMemory {
  private static final long NOT_WATCHED = -1;

  private long peak = NOT_WATCHED;

  /** Looks, if it is asked to at the time. */
  void look() {
    if (peak != NOT_WATCHED) {
      peak = Math.max(peak, NativeHeap.used().orElse(0));
    }
  }

  /** The most while these run; 0 where the C library does not say. */
  long of(Runnable passes) {
    peak = 0;
    try {
      passes.run();
      return peak;
    } finally {
      peak = NOT_WATCHED;
    }
  }
}
