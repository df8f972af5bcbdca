package org.fishermerge.estimate;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;

/**
 * A device on which models of a pool run, each on a thread of its own. Their batches run at the
 * same time; what a batch of a model takes is measured while the others rest between two of theirs,
 * and what one was promised is not offered to another.
 */
public final class SharedDevice {
  private final CommandDevice device;

  /** Read: loads and runs a model. Write: measures. Fair, so that a measurement comes to pass. */
  private final ReentrantReadWriteLock activity = new ReentrantReadWriteLock(true);

  /** How many models there is room for, as the first to be measured tells. */
  private final CompletableFuture<Integer> room = new CompletableFuture<>();

  /** Bytes that the batches of models may take, by thread; guarded by this. */
  private final Map<Thread, Long> promised = new HashMap<>();

  /** How many models had promises at the same time, at most; guarded by this. */
  private int most;

  private volatile boolean stopped;

  /** Shared by nobody yet. */
  public SharedDevice(CommandDevice device) {
    this.device = device;
  }

  /** Where models and kernels run. */
  public CommandDevice device() {
    return device;
  }

  /** Loads, runs and closes one model, on this thread and this device. */
  public void run(Runnable model) {
    activity.readLock().lock();
    try {
      device.run(model);
    } finally {
      synchronized (this) {
        promised.remove(Thread.currentThread());
        notifyAll();
      }
      activity.readLock().unlock();
    }
  }

  /** Measures while no other model runs, and takes off what others were promised. */
  Optional<MemoryPlan> plan(Supplier<Optional<MemoryPlan>> measurement) {
    boolean running = activity.getReadHoldCount() > 0;
    if (running) {
      activity.readLock().unlock();
    }
    activity.writeLock().lock();
    try {
      if (running) {
        activity.readLock().lock();
      }
      long toOthers = promisedToOthers();
      return measurement.get().map(plan -> plan.without(toOthers));
    } finally {
      activity.writeLock().unlock();
    }
  }

  private synchronized long promisedToOthers() {
    return promised.entrySet().stream()
        .filter(each -> each.getKey() != Thread.currentThread())
        .mapToLong(Map.Entry::getValue)
        .sum();
  }

  /**
   * Takes what a plan says for batches of that size; until {@link #run} ends it is this model's.
   */
  void promise(Optional<MemoryPlan> plan, int batchSize) {
    synchronized (this) {
      promised.put(Thread.currentThread(), plan.map(p -> p.batches(batchSize)).orElse(0L));
      most = Math.max(most, promised.size());
    }
    room.complete(plan.map(p -> p.modelsAtOnce(batchSize)).orElse(1));
  }

  /** Whether models have come one after the other so far. */
  synchronized boolean wasNotShared() {
    return most <= 1;
  }

  /** Waits until another model has ended that was promised memory; false if there is none. */
  boolean awaitAnother() {
    int before;
    synchronized (this) {
      before = promised.size();
    }
    if (before == 0) {
      return false;
    }
    boolean running = activity.getReadHoldCount() > 0;
    if (running) {
      activity.readLock().unlock(); // others may measure
    }
    try {
      synchronized (this) {
        while (promised.size() >= before && !stopped) {
          wait();
        }
      }
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts this thread", e);
    } finally {
      if (running) {
        activity.readLock().lock();
      }
    }
    requireGoing();
    return true;
  }

  /**
   * To be called between two batches.
   *
   * @throws CancellationException once {@link #stop} was called
   */
  void betweenBatches() {
    requireGoing();
    if (activity.getReadHoldCount() > 0) {
      activity.readLock().unlock();
      activity.readLock().lock();
    }
  }

  private void requireGoing() {
    if (stopped) {
      throw new CancellationException();
    }
  }

  /**
   * Waits until a model was measured, and answers how many there is room for; 0 if none will be.
   */
  public int modelsAtOnce() {
    return room.join();
  }

  /** No other model will be measured first. */
  public void noMore() {
    room.complete(0);
  }

  /** Ends the models that run after their next batch. */
  public void stop() {
    stopped = true;
    noMore();
    synchronized (this) {
      notifyAll();
    }
  }
}
