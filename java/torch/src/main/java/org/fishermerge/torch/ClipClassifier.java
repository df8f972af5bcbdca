package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.InputException;

/**
 * An image tower under a zero-shot head. Borrows both; not thread-safe.
 *
 * @param tower the tower whose parameters are studied or scored
 * @param head the frozen classifier
 */
public record ClipClassifier(ClipVisionTower tower, ZeroShotHead head) {
  /** Checks that the head fits the tower. */
  public ClipClassifier {
    int width = tower.config().tower().width();
    if (head.featureWidth() != width) {
      throw new InputException(
          "the model's pooled features are "
              + width
              + " wide but the visual projection of --clip takes "
              + head.featureWidth()
              + "; name the CLIP model that this one was fine-tuned from");
    }
  }

  /**
   * Class logits, row-major [examples, K].
   *
   * @param pixels fp32 [examples, C, H, W], off-heap or on-heap, preprocessed for this model
   * @throws InputException if a logit is not finite
   */
  public float[] logits(MemorySegment pixels, int examples) {
    LibTorch.initialize();
    Tensor pooled = tower.forward(pixels, examples, null);
    Tensor logits = head.forward(pooled, null);
    pooled.close();
    float[] values = Tensors.floats(logits);
    logits.close();
    return values;
  }

  /** Softmax in double of one row of logits. */
  static double[] probabilities(float[] logits, int row, int classes) {
    double[] p = new double[classes];
    double max = Double.NEGATIVE_INFINITY;
    for (int c = 0; c < classes; c++) {
      p[c] = logits[row * classes + c];
      max = Math.max(max, p[c]);
    }
    double sum = 0;
    for (int c = 0; c < classes; c++) {
      p[c] = Math.exp(p[c] - max);
      sum += p[c];
    }
    for (int c = 0; c < classes; c++) {
      p[c] /= sum;
    }
    return p;
  }

  /** Refuses a row that is not finite. */
  static void requireFinite(float[] logits, int row, int classes, long example) {
    for (int c = 0; c < classes; c++) {
      float value = logits[row * classes + c];
      if (!Float.isFinite(value)) {
        throw new InputException(
            "example "
                + example
                + ": the logit of class "
                + c
                + " is "
                + value
                + "; the model's weights or this example's pixels are not finite or overflow");
      }
    }
  }

  /** Refuses a label outside the head's classes. */
  static void requireLabel(long label, int classes, long example) {
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
