package org.fishermerge.estimate;

import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.runtime.SystemMemory;

/**
 * The memory that estimating statistics takes where the model is, in bytes.
 *
 * @param gpu whether that is a GPU's
 * @param weights of the model
 * @param statistics the sums
 * @param batch what a probe measured
 * @param picture one decoded picture; 0 where the examples are none, or wait elsewhere
 * @param workers threads that decode ahead
 * @param rest of the process: Java, libtorch, buffers
 * @param free that the process has or could have, the above included
 */
public record MemoryPlan(
    boolean gpu,
    long weights,
    long statistics,
    BatchMemory batch,
    long picture,
    int workers,
    long rest,
    long free) {
  /**
   * Beyond this a batch no longer runs faster per example; for batch squares it is FusionBench's
   * default, which defines the estimate.
   */
  static final int LARGEST_AUTO = 32;

  /** The same on a GPU. */
  static final int LARGEST_AUTO_GPU = 64;

  // Other programs need some too, and free memory changes.
  private static final double SHARE = 0.75;
  private static final long WORTH_A_LINE = 250_000_000;
  // What malloc loses between tensors that come and go, measured at several shapes and batches.
  private static final double FRAGMENTED = 0.1;

  /**
   * Of a model that is loaded.
   *
   * @param estimator of the model, the only one so far
   * @param atOnce estimators that live at the same time
   * @return empty where the system does not say what is free
   */
  static Optional<MemoryPlan> of(
      FisherEstimator estimator, BatchMemory batch, int atOnce, long picture, int workers) {
    long weights = estimator.weightBytes();
    long statistics = estimator.bytes();
    return before(weights, atOnce * statistics, estimator.gpuFreeBytes())
        .map(plan ->
            new MemoryPlan(
                plan.gpu,
                weights,
                plan.statistics,
                batch,
                plan.gpu ? 0 : picture,
                plan.gpu ? 0 : workers,
                plan.gpu ? 0 : Math.max(0, plan.rest - statistics),
                plan.gpu ? plan.free + statistics : plan.free));
  }

  /**
   * Of a model that is loaded, without batches, before there are sums.
   *
   * @param weights of the model
   * @param statistics the sums of all estimators that will live at the same time
   * @param gpuFree what a GPU has left on which they will be; empty on the CPU
   * @return empty where the system does not say what is free
   */
  static Optional<MemoryPlan> before(long weights, long statistics, OptionalLong gpuFree) {
    BatchMemory none = new BatchMemory(0, 0, 1, 0);
    if (gpuFree.isPresent()) {
      return Optional.of(
          new MemoryPlan(true, weights, statistics, none, 0, 0, 0, gpuFree.getAsLong() + weights));
    }
    OptionalLong used = SystemMemory.used();
    if (used.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        new MemoryPlan(
            false,
            weights,
            statistics,
            none,
            0,
            0,
            Math.max(0, used.getAsLong() - weights),
            used.getAsLong() + SystemMemory.free()));
  }

  /** The same with less of it free. */
  MemoryPlan without(long promised) {
    return new MemoryPlan(gpu, weights, statistics, batch, picture, workers, rest, free - promised);
  }

  /** Of the activations of a batch. */
  long activations(int batchSize) {
    return Math.round((1 + FRAGMENTED) * batch.bytes(batchSize));
  }

  /** Of the pictures that are there at once. */
  long pictures(int batchSize) {
    return picture * batchSize * BatchIterator.batchesAtOnce(batchSize, workers);
  }

  /** What batches take besides what is there already. */
  long batches(int batchSize) {
    return activations(batchSize) + pictures(batchSize);
  }

  /** Everything at its peak. */
  long peak(int batchSize) {
    return weights + statistics + batches(batchSize) + rest;
  }

  /** Whether it is worth a line: a quarter of a gigabyte besides Java and libtorch themselves. */
  boolean matters(int batchSize) {
    return peak(batchSize) - rest >= WORTH_A_LINE;
  }

  /**
   * The largest batch size up to 32, on a GPU 64, whose peak stays within three quarters of what is
   * free.
   */
  int largest(long examples) {
    int size = Math.toIntExact(Math.min(gpu ? LARGEST_AUTO_GPU : LARGEST_AUTO, examples));
    while (size > 1 && peak(size) > SHARE * free) {
      size--;
    }
    return size;
  }

  /** How many models like this one stay within three quarters of what is free; at least one. */
  int modelsAtOnce(int batchSize) {
    double each = Math.max(1, peak(batchSize) - rest);
    return (int) Math.clamp((SHARE * free - rest) / each, 1, Integer.MAX_VALUE);
  }

  boolean fits(int batchSize) {
    return peak(batchSize) <= free;
  }

  /**
   * Refuses a run that would end for want of memory.
   *
   * @throws InputException if its peak is more than is free; names the batch size that would fit
   */
  void requireFits(int batchSize, EstimationSettings.Spelling spelling) {
    if (fits(batchSize)) {
      return;
    }
    int fitting = batchSize - 1;
    while (fitting > 0 && !fits(fitting)) {
      fitting--;
    }
    throw new InputException(
        "batches of "
            + batchSize
            + " need "
            + gigabytes(peak(batchSize))
            + (gpu ? " of the GPU's memory, and " : " of memory, and ")
            + gigabytes(free)
            + " are free; "
            + (fitting > 0
                ? spelling.of("batch-size", Integer.toString(fitting)) + " fits"
                : "one example needs "
                    + gigabytes(peak(1))
                    + ": end other programs, or take a larger machine"));
  }

  /** One line. */
  public String text(int batchSize) {
    return "weights %s + statistics %s + batch of %d: %s%s%s = %s of %s free%s"
        .formatted(
            gigabytes(weights),
            gigabytes(statistics),
            batchSize,
            gigabytes(activations(batchSize)),
            picture == 0 ? "" : " + pictures " + gigabytes(pictures(batchSize)),
            gpu ? "" : " + Java, libtorch " + gigabytes(rest),
            gigabytes(peak(batchSize)),
            gigabytes(free),
            gpu ? " on the GPU" : "");
  }

  /** Decimal gigabytes, two digits after the point. */
  public static String gigabytes(long bytes) {
    return String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
  }
}
