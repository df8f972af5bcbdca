package org.fishermerge.cli.task;

import java.util.Locale;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.torch.BatchMemory;

/**
 * The memory that estimating a Fisher information takes, in bytes.
 *
 * @param weights of the model
 * @param fisher the sums, one for each weight
 * @param batch what a probe measured
 * @param picture one decoded picture; 0 where the examples are none
 * @param workers threads that decode ahead
 * @param rest of the process: Java, libtorch, buffers
 * @param free that the process has or could have, the above included
 */
public record MemoryPlan(
    long weights, long fisher, BatchMemory batch, long picture, int workers, long rest, long free) {
  /**
   * Beyond this a batch no longer runs faster per example; for batch squares it is FusionBench's
   * default, which defines the estimate.
   */
  static final int LARGEST_AUTO = 32;

  // Other programs need some too, and free memory changes.
  private static final double SHARE = 0.75;
  private static final long WORTH_A_LINE = 250_000_000;
  // What malloc loses between tensors that come and go, measured at several shapes and batches.
  private static final double FRAGMENTED = 0.1;

  /** Of the activations of a batch. */
  long activations(int batchSize) {
    return Math.round((1 + FRAGMENTED) * batch.bytes(batchSize));
  }

  /** Of the pictures that are there at once. */
  long pictures(int batchSize) {
    return picture * batchSize * BatchIterator.batchesAtOnce(batchSize, workers);
  }

  /** Everything at its peak. */
  long peak(int batchSize) {
    return weights + fisher + activations(batchSize) + pictures(batchSize) + rest;
  }

  /** Whether it is worth a line: a quarter of a gigabyte besides Java and libtorch themselves. */
  boolean matters(int batchSize) {
    return peak(batchSize) - rest >= WORTH_A_LINE;
  }

  /** The largest batch size up to 32 whose peak stays within three quarters of what is free. */
  int largest(long examples) {
    int size = Math.toIntExact(Math.min(LARGEST_AUTO, examples));
    while (size > 1 && peak(size) > SHARE * free) {
      size--;
    }
    return size;
  }

  /**
   * Refuses a run that would end for want of memory.
   *
   * @throws InputException if its peak is more than is free; names the batch size that would fit
   */
  void requireFits(int batchSize, FisherRun.Spelling spelling) {
    if (peak(batchSize) <= free) {
      return;
    }
    int fitting = batchSize - 1;
    while (fitting > 0 && peak(fitting) > free) {
      fitting--;
    }
    throw new InputException(
        "batches of "
            + batchSize
            + " need "
            + gigabytes(peak(batchSize))
            + " of memory, and "
            + gigabytes(free)
            + " are free; "
            + (fitting > 0
                ? spelling.of("batch-size", Integer.toString(fitting)) + " fits"
                : "one example needs "
                    + gigabytes(peak(1))
                    + ": end other programs, or take a larger machine"));
  }

  /** One line. */
  String text(int batchSize) {
    return "weights %s + Fisher %s + batch of %d: %s%s + Java, libtorch %s = %s of %s free"
        .formatted(
            gigabytes(weights),
            gigabytes(fisher),
            batchSize,
            gigabytes(activations(batchSize)),
            picture == 0 ? "" : " + pictures " + gigabytes(pictures(batchSize)),
            gigabytes(rest),
            gigabytes(peak(batchSize)),
            gigabytes(free));
  }

  static String gigabytes(long bytes) {
    return String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
  }
}
