package org.fishermerge.estimate;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The memory of this process that no file backs, as Linux counts it, watched for its peak. Mapped
 * model files do not count: the system takes their pages back when it needs them.
 */
final class ProcessMemory implements AutoCloseable {
  private static final long INTERVAL_MILLIS = 50;

  private final Thread watcher;
  private volatile boolean closed;
  private long peak;

  /** Watches until closed. */
  ProcessMemory() {
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
    peak = Math.max(peak, used().orElse(0));
  }

  /** The largest amount seen so far; empty where the system does not say. */
  synchronized OptionalLong peak() {
    sample();
    return peak == 0 ? OptionalLong.empty() : OptionalLong.of(peak);
  }

  @Override
  public void close() {
    closed = true;
    watcher.interrupt();
  }

  /** Memory now; empty where the system does not say. */
  static OptionalLong used() {
    return field("/proc/self/status", "RssAnon");
  }

  /** Memory that the process could have besides: the system's, or less where a container ends. */
  static long free() {
    OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    // Where no container sets a limit, this leaves out what caches of files would give back.
    long free = system.getFreeMemorySize();
    OptionalLong total = field("/proc/meminfo", "MemTotal");
    OptionalLong available = field("/proc/meminfo", "MemAvailable");
    if (total.isEmpty() || available.isEmpty()) {
      return free;
    }
    boolean limited = system.getTotalMemorySize() < total.getAsLong();
    return limited ? Math.min(free, available.getAsLong()) : available.getAsLong();
  }

  private static OptionalLong field(String file, String name) {
    try {
      Matcher line =
          Pattern.compile("^" + name + ":\\s+(\\d+) kB$", Pattern.MULTILINE)
              .matcher(Files.readString(Path.of(file)));
      return line.find()
          ? OptionalLong.of(Long.parseLong(line.group(1)) << 10)
          : OptionalLong.empty();
    } catch (IOException e) {
      return OptionalLong.empty();
    }
  }
}
