package org.fishermerge.merge;

import java.util.Locale;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticFile;

/** What the passes over Fisher files share. */
final class FisherValues {
  private FisherValues() {}

  /** Says which of a tensor's values are negative or not finite; one at least is. */
  static InputException invalid(StatisticFile file, CheckpointTensor tensor) {
    Values.Found invalid =
        Values.find(file.checkpoint(), tensor, v -> !(v >= 0) || Double.isInfinite(v));
    if (invalid.first() < 0) {
      return overflows(file);
    }
    return new InputException(
        String.format(
            Locale.ROOT,
            "%s: tensor '%s' holds %d values that are negative or not finite, the first at element"
                + " %d: %s. A Fisher is a sum of squares; compute it again.",
            file.path(),
            tensor.info().name(),
            invalid.count(),
            invalid.first(),
            invalid.value()));
  }

  /** Every value is finite, but not the sum of their squares in double. */
  static InputException overflows(StatisticFile file) {
    return new InputException(
        file.path()
            + ": the norm of its values overflows; a Fisher is far smaller, so this one is damaged or"
            + " was scaled");
  }
}
