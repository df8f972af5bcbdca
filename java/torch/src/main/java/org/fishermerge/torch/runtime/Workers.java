package org.fishermerge.torch.runtime;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;

/** Threads for work in parts that do not depend on how many threads there are. */
final class Workers {
  /** Threads end soon after the last part. */
  private static final Executor WORKERS =
      new ThreadPoolExecutor(
          0,
          Integer.MAX_VALUE,
          1,
          TimeUnit.SECONDS,
          new SynchronousQueue<>(),
          Thread.ofPlatform().daemon().name("torch-", 0).factory());

  private Workers() {}

  /**
   * Does all parts of some work, of which each thread, this one included, takes one after the
   * other.
   */
  static void forEach(int threads, long parts, LongConsumer work) {
    AtomicLong next = new AtomicLong();
    Runnable worker =
        () -> {
          for (long i = next.getAndIncrement(); i < parts; i = next.getAndIncrement()) {
            work.accept(i);
          }
        };
    List<CompletableFuture<?>> others = new ArrayList<>();
    try {
      for (long i = 1; i < Math.min(threads, parts); i++) {
        others.add(CompletableFuture.runAsync(worker, WORKERS));
      }
      worker.run();
    } finally {
      // Even where another thread cannot be started, and not to be interrupted: those that run
      // write to the caller's matrices.
      CompletableFuture.allOf(others.toArray(CompletableFuture<?>[]::new)).join();
    }
  }
}
