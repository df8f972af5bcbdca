package org.fishermerge.merge;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.function.DoublePredicate;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.kernels.ElementType;

/** Values one at a time, to say in words what a kernel's statistics told of. */
final class Values {
  private Values() {}

  /** One value; for looking at few. */
  static double get(MemorySegment values, DType dtype, long index) {
    return switch (dtype) {
      case F32 -> values.get(JAVA_FLOAT_UNALIGNED, index * 4);
      case F64 -> values.get(JAVA_DOUBLE_UNALIGNED, index * 8);
      case F16 -> Float.float16ToFloat(values.get(JAVA_SHORT_UNALIGNED, index * 2));
      case BF16 -> Float.intBitsToFloat(values.get(JAVA_SHORT_UNALIGNED, index * 2) << 16);
      default -> throw new IllegalArgumentException("not a dtype of parameters: " + dtype);
    };
  }

  /** The same. */
  static double get(MemorySegment values, ElementType type, long index) {
    return get(
        values,
        switch (type) {
          case F32 -> DType.F32;
          case F64 -> DType.F64;
          case F16 -> DType.F16;
          case BF16 -> DType.BF16;
        },
        index);
  }

  /** Index of the first value that the test accepts, or -1. */
  static long firstWhere(MemorySegment values, DType dtype, long count, DoublePredicate test) {
    for (long i = 0; i < count; i++) {
      if (test.test(get(values, dtype, i))) {
        return i;
      }
    }
    return -1;
  }

  /**
   * Values of a tensor that a test accepts.
   *
   * @param first the index of the first one; -1 if there is none
   * @param value the first one
   * @param count how many there are
   */
  record Found(long first, double value, long count) {}

  /** Looks at all values of a tensor, wherever they come from. */
  static Found find(Checkpoint checkpoint, CheckpointTensor tensor, DoublePredicate test) {
    DType dtype = tensor.info().dtype();
    long elements = tensor.info().elementCount();
    long first = -1;
    double value = 0;
    long count = 0;
    for (long at = 0; at < elements; at += Piece.ELEMENTS) {
      long length = Math.min(Piece.ELEMENTS, elements - at);
      MemorySegment values = ComputedValues.read(checkpoint, tensor.canonicalName(), at, length);
      long firstHere = firstWhere(values, dtype, length, test);
      if (firstHere >= 0) {
        count += countWhere(values, dtype, length, test);
        if (first < 0) {
          first = at + firstHere;
          value = get(values, dtype, firstHere);
        }
      }
    }
    return new Found(first, value, count);
  }

  /** How many values the test accepts. */
  static long countWhere(MemorySegment values, DType dtype, long count, DoublePredicate test) {
    long found = 0;
    for (long i = 0; i < count; i++) {
      found += test.test(get(values, dtype, i)) ? 1 : 0;
    }
    return found;
  }
}
