package org.fishermerge.cli.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.estimate.ProcessMemory;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeResult;
import org.fishermerge.torch.runtime.SystemMemory;
import org.jspecify.annotations.Nullable;

/**
 * Times the stages of a command, one after the other, and watches meanwhile how much memory the
 * process takes and what it reads from disks. For one thread.
 */
public final class Stages implements AutoCloseable {
  /** What Linux has fetched from storage for this process, by mapped pages too. */
  private static final Pattern FROM_DISK = Pattern.compile("(?m)^read_bytes: (\\d+)$");

  private final ReportBuilder report;
  private @Nullable ProcessMemory memory; // from the first stage on
  private long start;
  private OptionalLong fromDisk = OptionalLong.empty();
  private @Nullable Long planned;

  public Stages(ReportBuilder report) {
    this.report = report;
  }

  /** A stage begins; time since the last one belongs to none. */
  public void begin() {
    start = System.nanoTime();
    fromDisk = fromDisk();
    planned = null;
    if (memory == null) {
      memory = new ProcessMemory();
    } else {
      memory.restart();
    }
  }

  /**
   * A merge begins.
   *
   * @param kernels that it uses: the plan is of the memory here, and not of a GPU's
   */
  public void beginMerge(MergePlan plan, Kernels kernels) {
    begin();
    OptionalLong used = SystemMemory.used();
    if (used.isPresent() && !kernels.usesGpu()) {
      // The plan leaves out what Java takes, of which the free part of the heap is not there yet.
      planned = used.getAsLong() + Runtime.getRuntime().freeMemory() + plan.memoryBytes();
    }
  }

  /** The stage that began last ends now. */
  public void end(String name) {
    end(name, null);
  }

  /**
   * The same.
   *
   * @param planned memory of the whole process; null if nothing was
   */
  public void end(String name, @Nullable Long planned) {
    report.stage(
        new Stage(
            name,
            (System.nanoTime() - start) / 1e9,
            null,
            null,
            readFromDisk(),
            null,
            peak(),
            planned));
  }

  /**
   * The merge that began last is done.
   *
   * @param seconds that it took
   */
  public void endMerge(MergePlan plan, MergeResult result, double seconds) {
    Long fetched = readFromDisk();
    report.stage(
        new Stage(
            "merge",
            seconds,
            result.bytesRead(),
            result.bytesWritten(),
            fetched,
            PlainReading.rate(plan.inputFiles(), result.bytesRead(), seconds),
            peak(),
            planned));
  }

  private @Nullable Long peak() {
    OptionalLong peak = memory == null ? OptionalLong.empty() : memory.peak();
    return peak.isPresent() ? (Long) peak.getAsLong() : null;
  }

  private @Nullable Long readFromDisk() {
    OptionalLong now = fromDisk();
    return now.isPresent() && fromDisk.isPresent()
        ? (Long) (now.getAsLong() - fromDisk.getAsLong())
        : null;
  }

  private static OptionalLong fromDisk() {
    try {
      Matcher line = FROM_DISK.matcher(Files.readString(Path.of("/proc/self/io")));
      return line.find() ? OptionalLong.of(Long.parseLong(line.group(1))) : OptionalLong.empty();
    } catch (IOException e) {
      return OptionalLong.empty(); // not Linux, or not allowed here
    }
  }

  @Override
  public void close() {
    if (memory != null) {
      memory.close();
    }
  }
}
