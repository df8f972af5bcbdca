package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.function.DoublePredicate;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;

/** What is wrong with the values of models, in words. */
final class BadValues {
  private BadValues() {}

  /**
   * Says which values of a merged tensor, or of the inputs that made it, are not finite. Silent
   * where only the squares of finite values overflow.
   */
  static void requireFinite(
      MergeRule rule, MergeInputs inputs, Parameter parameter, MemorySegment out, DType dtype) {
    CheckpointTensor tensor = parameter.tensor();
    DoublePredicate notFinite = v -> !Double.isFinite(v);
    long count = tensor.info().elementCount();
    long firstOut = Values.firstWhere(out, dtype, count, notFinite);
    if (firstOut < 0) {
      return; // values whose squares overflow
    }
    double largest = 0;
    for (int i = 0; i < inputs.models().size(); i++) {
      Checkpoint model = inputs.models().get(i);
      CheckpointTensor found = inputs.valueOf(i, parameter);
      String name = found.canonicalName();
      Values.Found bad = Values.find(model, found, notFinite);
      if (bad.first() >= 0) {
        throw new InputException(
            String.format(
                Locale.ROOT,
                "%s: tensor '%s' holds %d values that are not finite, the first at element %d: %s."
                    + " The model is damaged or its training diverged; exclude the tensor to keep"
                    + " the base's.",
                model.isComputed(name) ? model.path() : found.file(),
                found.info().name(),
                bad.count(),
                bad.first(),
                bad.value()));
      }
      double value =
          Values.get(ComputedValues.read(model, name, firstOut, 1), found.info().dtype(), 0);
      largest = Math.abs(value) > Math.abs(largest) ? value : largest;
    }
    throw new OverflowException(
        String.format(
            Locale.ROOT,
            "the merged tensor '%s' overflows %s in %d values, the first at element %d, where the"
                + " largest input is %s. %s.",
            tensor.info().name(),
            dtype,
            Values.countWhere(out, dtype, count, notFinite),
            firstOut,
            largest,
            remedy(rule.scalingFactor())));
  }

  private static String remedy(double scalingFactor) {
    String dtype = "rite another dtype, --dtype bf16 or f32";
    return Math.abs(scalingFactor) > 1
        ? "The change from the base is multiplied by %s: give a smaller --lambda or --scaling-factor, or w"
                .formatted(scalingFactor)
            + dtype
        : "W" + dtype;
  }

  /** A tensor of the base that has larger values than the output can hold. */
  static InputException overflow(CheckpointTensor tensor, DType to, long index, double value) {
    return new InputException(
        String.format(
            Locale.ROOT,
            "%s: tensor '%s' overflows %s, first at element %d: %s. Write another dtype,"
                + " --dtype bf16 or f32.",
            tensor.file(),
            tensor.info().name(),
            to,
            index,
            value));
  }
}
