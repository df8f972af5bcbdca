package org.fishermerge.torch.runtime;

import java.util.Locale;
import org.fishermerge.checkpoint.DType;
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

  /** By its name on the command line, or that of PyTorch's dtype or Lightning's precision. */
  public static Precision parse(String name, String where) {
    String lower = name.strip().toLowerCase(Locale.ROOT);
    if (lower.equals("tf32")) {
      return TF32;
    }
    DType dtype =
        switch (lower) {
          case "32", "32-true" -> DType.F32;
          case "bf16-mixed" -> DType.BF16;
          default -> DType.ofFloats(lower).orElse(null);
        };
    return switch (dtype) {
      case F32 -> FP32;
      case BF16 -> BF16;
      case null, default ->
          throw new InputException(
              where
                  + " "
                  + name
                  + ": must be fp32, tf32 or bf16"
                  + (dtype == DType.F16
                      ? "; the squares of small gradients are 0 in half precision, bf16 is as fast"
                      : ""));
    };
  }

  /** As on the command line and in Fisher files. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
