package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.function.DoublePredicate;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticFile;

/** What the passes over Fisher files share. */
final class FisherValues {
  private FisherValues() {}

  /** Says which of a tensor's values are negative or not finite; one at least is. */
  static InputException invalid(StatisticFile file, CheckpointTensor tensor) {
    DType dtype = tensor.info().dtype();
    long count = tensor.info().elementCount();
    MemorySegment values = file.segment(tensor.canonicalName());
    DoublePredicate invalid = v -> !(v >= 0) || Double.isInfinite(v);
    long first = Values.firstWhere(values, dtype, count, invalid);
    if (first < 0) {
      return overflows(file);
    }
    return new InputException(
        String.format(
            Locale.ROOT,
            "%s: tensor '%s' holds %d values that are negative or not finite, the first at element"
                + " %d: %s. A Fisher is a sum of squares; compute it again.",
            file.path(),
            tensor.info().name(),
            Values.countWhere(values, dtype, count, invalid),
            first,
            Values.get(values, dtype, first)));
  }

  /** Every value is finite, but not the sum of their squares in double. */
  static InputException overflows(StatisticFile file) {
    return new InputException(
        file.path()
            + ": the norm of its values overflows; a Fisher is far smaller, so this one is damaged or"
            + " was scaled");
  }
}
