package org.fishermerge.cli;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.LabelExpectation;

/** The batch size that {@code --batch-size} asks for. */
final class BatchSize {
  static final String AUTO = "auto";

  // Beyond this a batch no longer runs faster per example; for batch squares it is FusionBench's
  // default, which defines the estimate.
  private static final int LARGEST_AUTO = 32;

  private BatchSize() {}

  static int choose(String option, long bytesPerExample, long examples, LabelExpectation labels) {
    if (!option.equals(AUTO)) {
      return parse(option);
    }
    if (labels.squaresBatches()) {
      return LARGEST_AUTO;
    }
    long free =
        ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getFreeMemorySize();
    long fitting = free / 2 / bytesPerExample;
    return Math.toIntExact(Math.max(1, Math.min(Math.min(LARGEST_AUTO, examples), fitting)));
  }

  private static int parse(String option) {
    try {
      int value = Integer.parseInt(option);
      if (value >= 1) {
        return value;
      }
    } catch (NumberFormatException e) {
      // The message below covers it.
    }
    throw new InputException(
        "--batch-size " + option + ": expected a number of examples, at least 1, or auto");
  }
}
