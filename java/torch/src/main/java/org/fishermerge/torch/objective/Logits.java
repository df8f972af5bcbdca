package org.fishermerge.torch.objective;

import java.util.function.LongUnaryOperator;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;

/** What is asked of class logits [B, K]. */
public final class Logits {
  private Logits() {}

  /** The class probabilities [B, K] of logits of any dtype: their softmax in float64. */
  public static Tensor probabilities(Tensor logits) {
    return torch.softmax(logits, 1, new ScalarTypeOptional(torch.ScalarType.Double));
  }

  /**
   * Refuses logits that are not all finite. Only the answer to that leaves the device.
   *
   * @param nameOf what the message calls the example of a row
   */
  public static void requireFinite(Tensor logits, LongUnaryOperator nameOf) {
    Tensor finite = logits.isfinite();
    if (finite.all().item_bool()) {
      return;
    }
    Tensor first = finite.logical_not().nonzero().select(0, 0);
    long row = first.select(0, 0).item_long();
    long column = first.select(0, 1).item_long();
    float value = logits.select(0, row).select(0, column).item_float();
    requireFinite(value, column, nameOf.applyAsLong(row));
  }

  /** Refuses a logit that is not finite. */
  public static void requireFinite(float logit, long column, long example) {
    if (!Float.isFinite(logit)) {
      throw new InputException(
          "example "
              + example
              + ": the logit of class "
              + column
              + " is "
              + logit
              + "; the model's weights or this example's input are not finite or overflow");
    }
  }

  /** Refuses a label outside the head's classes. */
  public static void requireLabel(long label, int classes, long example) {
    if (label < 0 || label >= classes) {
      throw new InputException(
          "example "
              + example
              + ": label "
              + label
              + " lies outside the head's "
              + classes
              + " classes (0 to "
              + (classes - 1)
              + "); data and classes belong to different tasks");
    }
  }
}
