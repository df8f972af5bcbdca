package org.fishermerge.estimate;

import java.util.Optional;
import java.util.OptionalInt;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.estimate.EstimationSettings.Spelling;
import org.fishermerge.torch.objective.Objective;

/** The batch size that a setting asks for: a number, or {@link #AUTO}. */
public final class BatchSize {
  public static final String AUTO = "auto";

  /** Where the system does not say what memory a batch takes. */
  private static final int UNPLANNED = 8;

  private BatchSize() {}

  /** Refuses what is no batch size, before the work. */
  static void check(String option, Spelling spelling) {
    if (!option.equals(AUTO) && number(option).isEmpty()) {
      throw new InputException(
          spelling.of("batch-size", option)
              + ": expected a number of examples, at least 1, or auto");
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
    return number(option)
        .orElseThrow(() -> new IllegalArgumentException("batch size " + option + " unchecked"));
  }

  private static OptionalInt number(String option) {
    try {
      int value = Integer.parseInt(option);
      return value >= 1 ? OptionalInt.of(value) : OptionalInt.empty();
    } catch (NumberFormatException e) {
      return OptionalInt.empty();
    }
  }
}
