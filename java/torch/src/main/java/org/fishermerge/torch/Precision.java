package org.fishermerge.torch;

import java.util.Locale;
import org.fishermerge.checkpoint.InputException;

/**
 * What linear layers and attention multiply in, forward and backward. All else, layer norms,
 * softmax, residual sums, logits and the Fisher itself, is in F32 whatever this says.
 */
public enum Precision {
  /** F32. */
  FP32,

  /** F32 rounded to 10 bits of fraction, on a GPU's tensor cores; sums in F32. */
  TF32,

  /**
   * Linear layers in BF16 with sums in F32; the rest as {@link #TF32} on a GPU and as {@link #FP32}
   * on the CPU. Halves the memory of their weights.
   */
  BF16;

  /** By its name on the command line. */
  public static Precision parse(String name, String where) {
    for (Precision precision : values()) {
      if (precision.text().equals(name)) {
        return precision;
      }
    }
    throw new InputException(where + " " + name + ": must be fp32, tf32 or bf16");
  }

  /** As on the command line and in Fisher files. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
