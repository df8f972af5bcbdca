package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Decodes floating-point data of files, which is little-endian and may be unaligned. */
final class Values {
  static final ValueLayout.OfFloat F32 =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfDouble F64 =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfShort I16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private Values() {}

  /** Fills {@code values} with the elements from {@code first} on. */
  static void read(MemorySegment data, DType dtype, long first, float[] values) {
    switch (dtype) {
      case F32 -> {
        for (int i = 0; i < values.length; i++) {
          values[i] = data.getAtIndex(F32, first + i);
        }
      }
      case F16 -> {
        for (int i = 0; i < values.length; i++) {
          values[i] = Float.float16ToFloat(data.getAtIndex(I16, first + i));
        }
      }
      case BF16 -> {
        for (int i = 0; i < values.length; i++) {
          values[i] = bfloat(data.getAtIndex(I16, first + i));
        }
      }
      case F64 -> {
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) data.getAtIndex(F64, first + i);
        }
      }
      default -> throw new IllegalArgumentException("not a mergeable dtype: " + dtype);
    }
  }

  /** Adds {@code count} elements from {@code first} on to the first elements of {@code sums}. */
  static void add(MemorySegment data, DType dtype, long first, double[] sums, int count) {
    switch (dtype) {
      case F32 -> {
        for (int i = 0; i < count; i++) {
          sums[i] += data.getAtIndex(F32, first + i);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          sums[i] += Float.float16ToFloat(data.getAtIndex(I16, first + i));
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          sums[i] += bfloat(data.getAtIndex(I16, first + i));
        }
      }
      case F64 -> {
        for (int i = 0; i < count; i++) {
          sums[i] += data.getAtIndex(F64, first + i);
        }
      }
      default -> throw new IllegalArgumentException("not a mergeable dtype: " + dtype);
    }
  }

  /** BF16 is the upper half of an F32. */
  private static float bfloat(short bits) {
    return Float.intBitsToFloat(bits << Short.SIZE);
  }
}
