package org.fishermerge.kernels;

/** Conversions of the 16-bit formats, for F16 (binary16) and BF16 (the upper half of binary32). */
final class Float16 {
  private Float16() {}

  static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** Rounded once, to nearest even; overflow is infinity. */
  static short toBf16(double x) {
    return (short) (Float.floatToRawIntBits((float) round(x, 7, -126)) >>> 16);
  }

  /** Rounded once, to nearest even; overflow is infinity. */
  static short toF16(double x) {
    return Float.floatToFloat16((float) round(x, 10, -14));
  }

  /** To a multiple of the format's step at x. Rounding to float first would round twice. */
  private static double round(double x, int fractionBits, int minExponent) {
    double step = Math.scalb(1.0, Math.max(Math.getExponent(x), minExponent) - fractionBits);
    return Math.rint(x / step) * step;
  }
}
