package org.fishermerge.kernels;

import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The caller and a fixed set of daemon threads, which share the items of a sequence of steps.
 * Kernel calls last from microseconds to milliseconds, so that no step waits for a thread that has
 * not woken up yet: a step ends when all of its items are done, and the wait for the last ones
 * spins.
 */
final class WorkerPool implements AutoCloseable {
  // About as long as it takes to put a thread to sleep and wake it again.
  private static final int SPINS = 1 << 12;
  private static final long PARK_NANOS = 20_000;

  /**
   * Items of one step, handed out in ranges of {@code grain}, or of fewer towards the end, down to
   * {@code least}, so that the threads end together.
   */
  record Step(long items, long grain, long least, RangeWork task) {
    /** In ranges of {@code grain} up to the end. */
    Step(long items, long grain, RangeWork task) {
      this(items, grain, grain, task);
    }

    /** At least as many ranges as this can be worked on side by side. */
    private long ranges(int threads) {
      return items == 0 ? 0 : Math.ceilDiv(items, range(items, threads));
    }

    /** The size of the next range where {@code left} items are left. */
    private long range(long left, int threads) {
      return Math.clamp(left / (2L * threads), least, grain);
    }
  }

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

  /** Runs one step. */
  void run(long items, long grain, RangeWork task) {
    run(List.of(new Step(items, grain, task)));
  }

  /**
   * Runs the steps one after the other, each in ranges handed out on demand, and waits for all of
   * them. The first failure stops the handing out and is thrown here.
   */
  void run(List<Step> steps) {
    long ranges = 0;
    for (Step step : steps) {
      ranges = Math.max(ranges, step.ranges(threads));
    }
    int helping = (int) Math.min(threads - 1L, ranges - 1);
    Run run = new Run(steps, threads);
    if (helpers != null) {
      for (int h = 1; h <= helping; h++) {
        int worker = h;
        helpers.execute(() -> run.work(worker));
      }
    }
    run.work(0);
    Throwable thrown = run.failure.get();
    if (thrown instanceof Error error) {
      throw error;
    }
    if (thrown instanceof RuntimeException exception) {
      throw exception;
    }
  }

  /**
   * The state of one call. It returns only when every item is done or skipped, so that the caller
   * may free what the items touch; a helper that arrives later finds nothing left.
   */
  private static final class Run {
    private final List<Step> steps;
    private final int threads;
    private final AtomicLong[] next;
    private final AtomicLong[] done;
    final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

    Run(List<Step> steps, int threads) {
      this.steps = steps;
      this.threads = threads;
      next = new AtomicLong[steps.size()];
      done = new AtomicLong[steps.size()];
      for (int s = 0; s < next.length; s++) {
        next[s] = new AtomicLong();
        done[s] = new AtomicLong();
      }
    }

    void work(int worker) {
      for (int s = 0; s < next.length; s++) {
        Step step = steps.get(s);
        for (long begin = next[s].get(); begin < step.items(); begin = next[s].get()) {
          long end = Math.min(step.items(), begin + step.range(step.items() - begin, threads));
          if (next[s].compareAndSet(begin, end)) {
            perform(step.task(), worker, begin, end);
            done[s].addAndGet(end - begin);
          }
        }
        for (int spins = 0; done[s].get() < step.items(); spins++) {
          if (spins < SPINS) {
            Thread.onSpinWait();
          } else {
            LockSupport.parkNanos(PARK_NANOS);
          }
        }
      }
    }

    private void perform(RangeWork task, int worker, long begin, long end) {
      if (failure.get() != null) {
        return;
      }
      try {
        task.run(worker, begin, end);
      } catch (RuntimeException | Error e) {
        failure.compareAndSet(null, e);
      }
    }
  }

  @Override
  public void close() {
    if (helpers != null) {
      helpers.shutdown();
    }
  }
}
