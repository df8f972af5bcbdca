package org.fishermerge.merge;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.function.DoublePredicate;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.DType;

/**
 * Looks at values for what must not be there. Called on a chunk that a kernel has just touched, so
 * it reads the cache rather than memory; works on blocks copied to the heap, whose loops the JIT
 * vectorises, and on bit patterns, whose reductions need no branches.
 */
final class Values {
  private static final int TASK = 1 << 16;
  private static final int BLOCK = 1 << 12;
  private static final int MAGNITUDE = 0x7FFF_FFFF;

  /** Added to a magnitude, carries into the sign bit if and only if the exponent is all ones. */
  private static final int F32_CARRY = 0x0080_0000;

  private Values() {}

  /**
   * What a stretch of a Fisher holds.
   *
   * @param invalid a negative value, NaN or infinity; -0.0 is valid
   * @param nonZero a value that is not zero
   * @param below how many values are below the threshold
   */
  record FisherScan(boolean invalid, boolean nonZero, long below) {
    static final FisherScan EMPTY = new FisherScan(false, false, 0);

    FisherScan plus(FisherScan other) {
      return new FisherScan(
          invalid || other.invalid, nonZero || other.nonZero, below + other.below);
    }
  }

  /** Scans {@code count} Fisher values. */
  static FisherScan scanFisher(
      MemorySegment values, DType dtype, long count, double threshold, boolean parallel) {
    int bytes = dtype.bits() / 8;
    return reduce(
        count,
        parallel,
        task -> {
          long from = (long) task * TASK;
          int n = (int) Math.min(TASK, count - from);
          return scanTask(values.asSlice(from * bytes, (long) n * bytes), dtype, n, threshold);
        });
  }

  private static FisherScan reduce(long count, boolean parallel, IntFunction<FisherScan> task) {
    IntStream tasks = IntStream.range(0, Math.toIntExact((count + TASK - 1) / TASK));
    return (parallel && count > TASK ? tasks.parallel() : tasks)
        .mapToObj(task)
        .reduce(FisherScan.EMPTY, FisherScan::plus);
  }

  private static FisherScan scanTask(
      MemorySegment values, DType dtype, int count, double threshold) {
    if (dtype == DType.F64) {
      return scanDoubles(values, count, threshold);
    }
    float ceiling = (float) threshold;
    int limit = Float.floatToRawIntBits(ceiling < threshold ? Math.nextUp(ceiling) : ceiling);
    int[] block = new int[Math.min(BLOCK, count)];
    int invalid = 0;
    int magnitudes = 0;
    int below = 0;
    for (int from = 0; from < count; from += BLOCK) {
      int n = Math.min(BLOCK, count - from);
      load(values, dtype, from, n, block);
      for (int i = 0; i < n; i++) {
        int bits = block[i];
        int magnitude = bits & MAGNITUDE;
        // The first term has its sign bit set for negative values other than -0.0.
        invalid |= (bits & (bits - 1)) | (magnitude + F32_CARRY);
        magnitudes |= magnitude;
        below += (magnitude - limit) >>> 31;
      }
    }
    return new FisherScan(invalid < 0, magnitudes != 0, below);
  }

  private static FisherScan scanDoubles(MemorySegment values, int count, double threshold) {
    boolean invalid = false;
    boolean nonZero = false;
    long below = 0;
    for (int i = 0; i < count; i++) {
      double value = get(values, DType.F64, i);
      invalid |= !(value >= 0) || Double.isInfinite(value);
      nonZero |= value != 0;
      below += value < threshold ? 1 : 0;
    }
    return new FisherScan(invalid, nonZero, below);
  }

  /** Whether none of {@code count} values is NaN or infinite. */
  static boolean allFinite(MemorySegment values, DType dtype, long count) {
    if (dtype == DType.F64) {
      return firstWhere(values, dtype, count, v -> !Double.isFinite(v)) < 0;
    }
    int[] block = new int[(int) Math.min(BLOCK, count)];
    int carries = 0;
    for (long from = 0; from < count; from += BLOCK) {
      int n = (int) Math.min(BLOCK, count - from);
      load(values, dtype, from, n, block);
      for (int i = 0; i < n; i++) {
        carries |= (block[i] & MAGNITUDE) + F32_CARRY;
      }
    }
    return carries >= 0;
  }

  /** Bits of the values as F32. */
  private static void load(MemorySegment values, DType dtype, long from, int count, int[] block) {
    switch (dtype) {
      case F32 -> MemorySegment.copy(values, JAVA_INT_UNALIGNED, from * 4, block, 0, count);
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          block[i] = values.get(JAVA_SHORT_UNALIGNED, (from + i) * 2) << 16;
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          short bits = values.get(JAVA_SHORT_UNALIGNED, (from + i) * 2);
          block[i] = Float.floatToRawIntBits(Float.float16ToFloat(bits));
        }
      }
      default -> throw new IllegalArgumentException("not a dtype of parameters: " + dtype);
    }
  }

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

  /** Index of the first value that the test accepts, or -1. */
  static long firstWhere(MemorySegment values, DType dtype, long count, DoublePredicate test) {
    for (long i = 0; i < count; i++) {
      if (test.test(get(values, dtype, i))) {
        return i;
      }
    }
    return -1;
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
