package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Decodes floating-point data of files, which is little-endian and may be unaligned. */
final class Values {
  static final ValueLayout.OfFloat F32 =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat NATIVE_F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfDouble F64 =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfShort I16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private Values() {}

  /** Fills {@code target}, F32 in native byte order, with as many elements from the first on. */
  static void copy(MemorySegment data, DType dtype, MemorySegment target) {
    long count = target.byteSize() / Float.BYTES;
    switch (dtype) {
      case F32 -> MemorySegment.copy(data, F32, 0, target, NATIVE_F32, 0, count);
      case F16 -> {
        for (long i = 0; i < count; i++) {
          target.setAtIndex(NATIVE_F32, i, Float.float16ToFloat(data.getAtIndex(I16, i)));
        }
      }
      case BF16 -> {
        for (long i = 0; i < count; i++) {
          target.setAtIndex(NATIVE_F32, i, bfloat(data.getAtIndex(I16, i)));
        }
      }
      case F64 -> {
        for (long i = 0; i < count; i++) {
          target.setAtIndex(NATIVE_F32, i, (float) data.getAtIndex(F64, i));
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
