package org.fishermerge.estimate;

import java.util.OptionalLong;
import org.fishermerge.torch.runtime.SystemMemory;

/** The memory of this process that no file backs, watched for its peak. */
public final class ProcessMemory implements AutoCloseable {
  private static final long INTERVAL_MILLIS = 50;

  private final Thread watcher;
  private volatile boolean closed;
  private long peak;

  /** Watches until closed. */
  public ProcessMemory() {
    watcher = Thread.ofPlatform().daemon().name("fisher-merge-memory").unstarted(this::watch);
    watcher.start();
  }

  private void watch() {
    while (!closed) {
      sample();
      try {
        Thread.sleep(INTERVAL_MILLIS);
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private synchronized void sample() {
    peak = Math.max(peak, SystemMemory.used().orElse(0));
  }

  /** The largest amount seen so far; empty where the system does not say. */
  public synchronized OptionalLong peak() {
    sample();
    return peak == 0 ? OptionalLong.empty() : OptionalLong.of(peak);
  }

  /** Forgets what it has seen, for the peak of what comes next. */
  public synchronized void restart() {
    peak = 0;
  }

  @Override
  public void close() {
    closed = true;
    watcher.interrupt();
  }
}
