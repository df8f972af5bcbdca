package org.fishermerge.torch.runtime;

import com.sun.management.OperatingSystemMXBean;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.OptionalLong;

/**
 * The memory of this process and of the system, as Linux counts it. Mapped model files do not
 * count: the system takes their pages back when it needs them.
 */
public final class SystemMemory {
  private SystemMemory() {}

  /** Memory that this process has and no file backs; empty where the system does not say. */
  public static OptionalLong used() {
    return field("/proc/self/status", "RssAnon");
  }

  /** Memory that the process could have besides: the system's, or less where a container ends. */
  public static long free() {
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

  /** Enough for the lines that are asked for. */
  private static final int MOST_BYTES = 4096;

  /**
   * A number of kilobytes, in bytes. Some ask twenty times a second, too seldom for the code to be
   * compiled: a channel and a regular expression would take a millisecond each time.
   */
  private static OptionalLong field(String file, String name) {
    byte[] read = new byte[MOST_BYTES];
    try (FileInputStream in = new FileInputStream(file)) {
      int length = Math.max(0, in.read(read));
      String lines = "\n" + new String(read, 0, length, StandardCharsets.ISO_8859_1);
      int line = lines.indexOf("\n" + name + ":");
      int end = lines.indexOf(" kB\n", line);
      if (line < 0 || end < 0) {
        return OptionalLong.empty();
      }
      String number = lines.substring(line + name.length() + 2, end).strip();
      return OptionalLong.of(Long.parseLong(number) << 10);
    } catch (IOException e) {
      return OptionalLong.empty();
    }
  }
}
