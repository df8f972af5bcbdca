package org.fishermerge.torch;

import org.fishermerge.checkpoint.InputException;

/** What is asked of rows of class logits, row-major [rows, classes]. */
final class Logits {
  private Logits() {}

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
                + "; the model's weights or this example's input are not finite or overflow");
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
