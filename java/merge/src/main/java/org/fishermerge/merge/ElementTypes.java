package org.fishermerge.merge;

import org.fishermerge.checkpoint.DType;
import org.fishermerge.kernels.ElementType;

/** Dtypes of files as the formats that kernels read. */
public final class ElementTypes {
  private ElementTypes() {}

  /**
   * The format of a dtype.
   *
   * @throws IllegalArgumentException if parameters never have it
   */
  public static ElementType of(DType dtype) {
    return switch (dtype) {
      case F32 -> ElementType.F32;
      case F16 -> ElementType.F16;
      case BF16 -> ElementType.BF16;
      case F64 -> ElementType.F64;
      default -> throw new IllegalArgumentException("not a dtype of parameters: " + dtype);
    };
  }
}
