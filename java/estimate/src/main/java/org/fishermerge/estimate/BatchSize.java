package org.fishermerge.estimate;

import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.objective.Objective;

/** The batch size that {@code --batch-size} asks for. */
public final class BatchSize {
  public static final String AUTO = "auto";

  /** Where the system does not say what memory a batch takes. */
  private static final int UNPLANNED = 8;

  private BatchSize() {}

  /** Refuses what is no batch size, before the work. */
  static void check(String option) {
    if (!option.equals(AUTO)) {
      parse(option);
    }
  }

  /** Whether batches hold one example whatever memory there is. */
  static boolean isOne(String option) {
    return !option.equals(AUTO) && parse(option) == 1;
  }

  static int choose(String option, Optional<MemoryPlan> plan, long examples, Objective labels) {
    if (!option.equals(AUTO)) {
      return parse(option);
    }
    if (labels.squaresBatches()) {
      return MemoryPlan.LARGEST_AUTO;
    }
    return plan.map(p -> p.largest(examples))
        .orElse(Math.toIntExact(Math.min(UNPLANNED, examples)));
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
