package org.fishermerge.checkpoint;

import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Every element type of the safetensors format; {@link #name()} is the name in the file. The order
 * of the constants is that of the reference implementation, which lays tensors out by it.
 */
public enum DType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  private static final Map<String, DType> BY_NAME = new HashMap<>();

  static {
    for (DType dtype : values()) {
      BY_NAME.put(dtype.name(), dtype);
    }
  }

  private final int bits;

  DType(int bits) {
    this.bits = bits;
  }

  /** Bits per element; 4 and 6 occur. */
  public int bits() {
    return bits;
  }

  /** Whether values of this type can be averaged: F32, F16, BF16 and F64. */
  public boolean isMergeable() {
    return switch (this) {
      case F32, F16, BF16, F64 -> true;
      default -> false;
    };
  }

  /**
   * Whether this is BOOL or an integer type: such tensors are buffers, not parameters, or the codes
   * of quantised weights, which {@link Checkpoint#requireWeights} refuses.
   */
  public boolean isInteger() {
    return switch (this) {
      case BOOL, U8, I8, I16, U16, I32, U32, I64, U64 -> true;
      default -> false;
    };
  }

  /**
   * The floating-point type of a name that people write: PyTorch's and transformers' ({@code
   * bfloat16}, {@code torch.float32}, {@code half}), or the short one of this format, in any case.
   */
  public static Optional<DType> ofFloats(String name) {
    String lower = name.strip().toLowerCase(Locale.ROOT);
    return Optional.ofNullable(
        switch (lower.startsWith("torch.") ? lower.substring(6) : lower) {
          case "float32", "float", "f32", "fp32", "single" -> F32;
          case "float16", "half", "f16", "fp16" -> F16;
          case "bfloat16", "bf16" -> BF16;
          case "float64", "double", "f64", "fp64" -> F64;
          default -> null;
        });
  }

  /** The type of that exact name (upper case), if there is one. */
  static Optional<DType> named(String name) {
    return Optional.ofNullable(BY_NAME.get(name));
  }
}
