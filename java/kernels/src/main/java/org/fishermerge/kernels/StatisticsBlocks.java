package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Statistics of items of different lengths, taken over blocks that threads share and added up in
 * order. The blocks of an item depend on its length only, so that sums have the same bits for any
 * number of threads, and many small items take as long as one large one.
 */
final class StatisticsBlocks {
  /**
   * Elements of a block, which a thread averages and then looks through while they are in its
   * cache: the Fishers of eight models take 128 KiB.
   */
  private static final long ELEMENTS = 4096;

  /** Blocks handed out at a time. */
  private static final long GRAIN = 16;

  private final long[] counts;

  /** Index of each item's first block, and in the end the number of all blocks. */
  private final long[] first;

  private final int kinds;
  private final @Nullable ValueStatistics[][] found;

  /** Single-threaded work on one block. */
  interface Work {
    /**
     * Does elements [from, to) of an item.
     *
     * @param found takes the statistics of each kind
     */
    void run(int worker, int item, long from, long to, @Nullable ValueStatistics[] found);
  }

  /**
   * Without statistics yet.
   *
   * @param counts elements of each item
   * @param kinds how many statistics each element goes into
   */
  StatisticsBlocks(long[] counts, int kinds) {
    this.counts = counts;
    this.kinds = kinds;
    this.first = new long[counts.length + 1];
    for (int i = 0; i < counts.length; i++) {
      first[i + 1] = first[i] + Math.ceilDiv(counts[i], ELEMENTS);
    }
    this.found = new ValueStatistics[Math.toIntExact(first[counts.length])][kinds];
  }

  void run(WorkerPool pool, Work work) {
    pool.run(
        found.length,
        GRAIN,
        (worker, begin, end) -> {
          int item = Arrays.binarySearch(first, begin);
          item = item < 0 ? -item - 2 : item;
          for (long block = begin; block < end; block++) {
            while (first[item + 1] <= block) {
              item++;
            }
            long from = (block - first[item]) * ELEMENTS;
            long to = Math.min(counts[item], from + ELEMENTS);
            work.run(worker, item, from, to, found[(int) block]);
          }
        });
  }

  /** Of one item, for each kind. */
  List<ValueStatistics> total(int item) {
    List<ValueStatistics> totals = new ArrayList<>(kinds);
    for (int kind = 0; kind < kinds; kind++) {
      ValueStatistics total = ValueStatistics.EMPTY;
      for (long block = first[item]; block < first[item + 1]; block++) {
        total = total.plus(Objects.requireNonNull(found[(int) block][kind]));
      }
      totals.add(total);
    }
    return totals;
  }
}
