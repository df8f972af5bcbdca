package org.fishermerge.torch.runtime;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

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
