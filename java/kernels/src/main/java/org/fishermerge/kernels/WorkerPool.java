package org.fishermerge.kernels;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A fixed set of daemon threads, the caller being one of the workers, that share out the items of a
 * range.
 */
final class WorkerPool implements AutoCloseable {
  private final int threads;
  private final @Nullable ExecutorService helpers;

  WorkerPool(int threads) {
    this.threads = threads;
    this.helpers =
        threads == 1
            ? null
            : Executors.newFixedThreadPool(
                threads - 1, Thread.ofPlatform().daemon().name("fisher-kernels-", 1).factory());
  }

  int threads() {
    return threads;
  }

  /**
   * Runs the task over [0, items) in ranges of at most {@code grain} items, handed out on demand,
   * and waits for all of them. The first failure stops the handing out and is thrown here.
   */
  void run(long items, long grain, RangeTask task) {
    long ranges = Math.ceilDiv(items, grain);
    int helping = (int) Math.min(threads - 1L, ranges - 1);
    if (helpers == null || helping <= 0) {
      if (items > 0) {
        task.run(0, 0, items);
      }
      return;
    }
    AtomicLong next = new AtomicLong();
    AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    CountDownLatch done = new CountDownLatch(helping);
    for (int h = 1; h <= helping; h++) {
      int worker = h;
      helpers.execute(() -> {
        work(worker, items, grain, task, next, failure);
        done.countDown();
      });
    }
    work(0, items, grain, task, next, failure);
    awaitAll(done);
    Throwable thrown = failure.get();
    if (thrown instanceof Error error) {
      throw error;
    }
    if (thrown instanceof RuntimeException exception) {
      throw exception;
    }
  }

  private static void work(
      int worker,
      long items,
      long grain,
      RangeTask task,
      AtomicLong next,
      AtomicReference<@Nullable Throwable> failure) {
    try {
      for (long begin = next.getAndAdd(grain);
          begin < items && failure.get() == null;
          begin = next.getAndAdd(grain)) {
        task.run(worker, begin, Math.min(items, begin + grain));
      }
    } catch (RuntimeException | Error e) {
      failure.compareAndSet(null, e);
    }
  }

  /**
   * Waits even when interrupted: the helpers hold addresses that the caller may free afterwards.
   */
  private static void awaitAll(CountDownLatch done) {
    boolean interrupted = false;
    while (true) {
      try {
        done.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    if (helpers != null) {
      helpers.shutdown();
    }
  }
}
