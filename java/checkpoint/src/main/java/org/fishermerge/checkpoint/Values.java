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

  /** As many elements from the first on, F64 rounded to nearest. */
  static float[] floats(MemorySegment data, DType dtype, int count) {
    float[] values = new float[count];
    switch (dtype) {
      case F32 -> MemorySegment.copy(data, F32, 0, values, 0, count);
      case F16 -> {
        short[] bits = shorts(data, count);
        for (int i = 0; i < count; i++) {
          values[i] = Float.float16ToFloat(bits[i]);
        }
      }
      case BF16 -> {
        short[] bits = shorts(data, count);
        for (int i = 0; i < count; i++) {
          values[i] = bfloat(bits[i]);
        }
      }
      case F64 -> {
        double[] wide = doubles(data, count);
        for (int i = 0; i < count; i++) {
          values[i] = (float) wide[i];
        }
      }
      default -> throw new IllegalArgumentException("not a mergeable dtype: " + dtype);
    }
    return values;
  }

  private static short[] shorts(MemorySegment data, int count) {
    short[] bits = new short[count];
    MemorySegment.copy(data, I16, 0, bits, 0, count);
    return bits;
  }

  /** As many F64 elements from the first on. */
  static double[] doubles(MemorySegment data, int count) {
    double[] values = new double[count];
    MemorySegment.copy(data, F64, 0, values, 0, count);
    return values;
  }

  /** Writes values as F64, little-endian. */
  static void store(double[] values, MemorySegment target) {
    MemorySegment.copy(values, 0, target, F64, 0, values.length);
  }

  /** Writes values as F32, F16, BF16 or F64, little-endian, rounded to nearest, ties to even. */
  static void store(float[] values, DType dtype, MemorySegment target) {
    switch (dtype) {
      case F32 -> MemorySegment.copy(values, 0, target, F32, 0, values.length);
      case F16, BF16 -> {
        short[] bits = new short[values.length];
        for (int i = 0; i < bits.length; i++) {
          bits[i] = dtype == DType.F16 ? Float.floatToFloat16(values[i]) : upperHalf(values[i]);
        }
        MemorySegment.copy(bits, 0, target, I16, 0, bits.length);
      }
      case F64 -> {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
          wide[i] = values[i];
        }
        store(wide, target);
      }
      default -> throw new IllegalArgumentException("not a mergeable dtype: " + dtype);
    }
  }

  /** The same values in another dtype, rounded to nearest; the data itself if it has that dtype. */
  static MemorySegment cast(MemorySegment data, DType from, DType to, int count) {
    if (from == to) {
      return data;
    }
    MemorySegment target = MemorySegment.ofArray(new byte[count * (to.bits() / Byte.SIZE)]);
    store(floats(data, from, count), to, target);
    return target;
  }

  private static short upperHalf(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >> Short.SIZE) | 0x40); // stays a NaN
    }
    return (short) ((bits + 0x7fff + ((bits >>> Short.SIZE) & 1)) >>> Short.SIZE);
  }

  /** BF16 is the upper half of an F32. */
  private static float bfloat(short bits) {
    return Float.intBitsToFloat(bits << Short.SIZE);
  }
}
