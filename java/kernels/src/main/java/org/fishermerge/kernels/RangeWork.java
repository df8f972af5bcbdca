package org.fishermerge.kernels;

/**
 * Single-threaded work on a range of items; ranges may run at the same time on different workers.
 */
@FunctionalInterface
interface RangeWork {
  /**
   * Does the items [begin, end).
   *
   * @param worker 0 &lt;= worker &lt; threads, different for calls that run at the same time
   */
  void run(int worker, long begin, long end);
}
