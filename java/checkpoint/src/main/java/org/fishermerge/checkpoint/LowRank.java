package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a LoRA adapter does to one tensor, seen as a matrix of rows and columns: {@code W + scale *
 * L R}, with L of [rows, rank] and R of [rank, columns], or with DoRA {@code m (W + scale * L R) /
 * |W + scale * L R|}, norms taken per output of the layer. Products are summed in fp32 in order of
 * the rank, multiplied by the scale, and the sum with W, taken in fp32 (F64 where W is), is rounded
 * once to W's dtype: as PEFT's merge does on a CPU, but for the order of its sums. Each element is
 * computed for itself, so that the values do not depend on pieces or threads. Immutable but for the
 * norms, which are computed when first needed; safe for any number of threads.
 */
final class LowRank {
  /** Elements that a thread takes at once. */
  private static final int BLOCK = 1 << 15;

  private static final int NORM_ROWS = 64;

  /** The tensor before it is adapted. */
  @FunctionalInterface
  interface Source {
    /** Elements from {@code from} on in row-major order, in the tensor's dtype. */
    MemorySegment read(long from, int count);
  }

  /** A matrix of the adapter's file: where it lies, and its dtype. */
  record Factor(CheckpointTensor tensor) {
    DType dtype() {
      return tensor.info().dtype();
    }
  }

  private final @Nullable Factor a;
  private final Factor b;
  private final @Nullable Factor magnitude;
  private final int rank;
  private final long rows;
  private final long columns;
  private final boolean transposed;
  private final float scale;
  private float @Nullable [] rowFactors;

  /**
   * Describes an update.
   *
   * @param a [rank, in]; null for the number one, of a bias
   * @param b [out, rank]
   * @param magnitude [out], with DoRA only
   * @param transposed whether the tensor is stored as [in, out], so that its rows are a's columns
   */
  LowRank(
      @Nullable Factor a,
      Factor b,
      @Nullable Factor magnitude,
      int rank,
      long rows,
      long columns,
      boolean transposed,
      double scale) {
    this.a = a;
    this.b = b;
    this.magnitude = magnitude;
    this.rank = rank;
    this.rows = rows;
    this.columns = columns;
    this.transposed = transposed;
    this.scale = (float) scale;
  }

  /**
   * Adapts elements {@code from} to {@code from + count} of a tensor in row-major order.
   *
   * @param stored the tensor before it is adapted
   * @param dtype of the tensor, before and after
   * @param data gives the data of a factor
   * @param target receives the elements, little-endian in {@code dtype}
   */
  void apply(
      Source stored,
      DType dtype,
      Function<Factor, MemorySegment> data,
      long from,
      long count,
      MemorySegment target) {
    if (count == 0) {
      return;
    }
    Stretch stretch = new Stretch(from / columns, (from + count - 1) / columns + 1, data);
    float @Nullable [] factors = magnitude == null ? null : outputFactors(stored, dtype, data);
    long width = dtype.bits() / Byte.SIZE;
    long first = from / BLOCK;
    IntStream.range(0, Math.toIntExact((from + count - 1) / BLOCK + 1 - first))
        .parallel()
        .forEach(block -> {
          long begin = Math.max(from, (first + block) * BLOCK);
          int length = Math.toIntExact(Math.min(from + count, (first + block + 1) * BLOCK) - begin);
          MemorySegment in = stored.read(begin, length);
          MemorySegment out = target.asSlice((begin - from) * width, length * width);
          float[] delta = new float[length];
          stretch.delta(begin, delta);
          if (dtype == DType.F64) {
            double[] values = Values.doubles(in, length);
            for (int i = 0; i < length; i++) {
              values[i] += delta[i];
              if (factors != null) {
                values[i] *= factors[output(begin + i)];
              }
            }
            Values.store(values, out);
          } else {
            float[] values = Values.floats(in, dtype, length);
            for (int i = 0; i < length; i++) {
              values[i] += delta[i];
            }
            if (factors != null) {
              for (int i = 0; i < length; i++) {
                values[i] *= factors[output(begin + i)];
              }
            }
            Values.store(values, dtype, out);
          }
        });
    stretch.release(data);
  }

  private int output(long element) {
    return (int) (transposed ? element % columns : element / columns);
  }

  /** The factors as far as some rows need them, in fp32 and in the order in which they are read. */
  private final class Stretch {
    private final long firstRow;
    private final float[] left;

    /** A row of R each: one index for all arrays of a loop lets the compiler vectorise it. */
    private final float[][] right;

    Stretch(long firstRow, long endRow, Function<Factor, MemorySegment> data) {
      this.firstRow = firstRow;
      int count = Math.toIntExact(endRow - firstRow);
      int wide = Math.toIntExact(columns);
      if (a == null) {
        left = rows(b, firstRow, count, data);
        right = new float[][] {{1}};
      } else if (transposed) {
        left = new float[Math.multiplyExact(count, rank)];
        MemorySegment stored = data.apply(a);
        long width = a.dtype().bits() / Byte.SIZE;
        for (int k = 0; k < rank; k++) {
          float[] row =
              Values.floats(
                  stored.asSlice((k * rows + firstRow) * width, count * width), a.dtype(), count);
          for (int i = 0; i < count; i++) {
            left[i * rank + k] = row[i];
          }
        }
        right = turned(Values.floats(data.apply(b), b.dtype(), wide * rank), wide);
      } else {
        left = rows(b, firstRow, count, data);
        right = new float[rank][];
        MemorySegment stored = data.apply(a);
        long width = (long) wide * (a.dtype().bits() / Byte.SIZE);
        for (int k = 0; k < rank; k++) {
          right[k] = Values.floats(stored.asSlice(k * width, width), a.dtype(), wide);
        }
      }
    }

    private float[] rows(
        Factor factor, long first, int count, Function<Factor, MemorySegment> data) {
      long width = (long) rank * (factor.dtype().bits() / Byte.SIZE);
      return Values.floats(
          data.apply(factor).asSlice(first * width, count * width),
          factor.dtype(),
          Math.multiplyExact(count, rank));
    }

    private float[][] turned(float[] values, int wide) {
      float[][] turned = new float[rank][wide];
      for (int j = 0; j < wide; j++) {
        for (int k = 0; k < rank; k++) {
          turned[k][j] = values[j * rank + k];
        }
      }
      return turned;
    }

    /** The change of the elements from {@code begin} on. */
    void delta(long begin, float[] out) {
      float[] sums = new float[(int) columns];
      int done = 0;
      while (done < out.length) {
        long row = (begin + done) / columns;
        int column = (int) ((begin + done) % columns);
        int end = (int) Math.min(columns, column + (long) out.length - done);
        Arrays.fill(sums, column, end, 0);
        add((int) (row - firstRow) * rank, column, end, sums);
        for (int j = column; j < end; j++) {
          out[done++] = sums[j] * scale;
        }
      }
    }

    /** Four products at a time: the order of the sum stays, the sums stay in registers. */
    private void add(int coefficients, int begin, int end, float[] sums) {
      int k = 0;
      for (; k + 4 <= rank; k += 4) {
        addFour(
            left[coefficients + k],
            right[k],
            left[coefficients + k + 1],
            right[k + 1],
            left[coefficients + k + 2],
            right[k + 2],
            left[coefficients + k + 3],
            right[k + 3],
            begin,
            end,
            sums);
      }
      for (; k < rank; k++) {
        float c = left[coefficients + k];
        float[] r = right[k];
        for (int j = begin; j < end; j++) {
          sums[j] += c * r[j];
        }
      }
    }

    /** The factors need not stay mapped: the next stretch may be long after this one. */
    void release(Function<Factor, MemorySegment> data) {
      if (a != null) {
        MappedData.release(data.apply(a));
      }
      MappedData.release(data.apply(b));
    }
  }

  private static void addFour(
      float c0,
      float[] r0,
      float c1,
      float[] r1,
      float c2,
      float[] r2,
      float c3,
      float[] r3,
      int begin,
      int end,
      float[] sums) {
    for (int j = begin; j < end; j++) {
      sums[j] = (((sums[j] + c0 * r0[j]) + c1 * r1[j]) + c2 * r2[j]) + c3 * r3[j];
    }
  }

  // ---- DoRA ----

  /** Magnitude by norm, of each output of the layer. */
  private synchronized float[] outputFactors(
      Source stored, DType dtype, Function<Factor, MemorySegment> data) {
    float[] known = rowFactors;
    if (known != null) {
      return known;
    }
    Factor wanted = magnitude;
    if (wanted == null) {
      throw new IllegalStateException("no magnitudes");
    }
    int outputs = Math.toIntExact(transposed ? columns : rows);
    int wide = Math.toIntExact(columns);
    double[] squares = new double[outputs];
    // Some rows at a time, in order: sums over rows have the same bits on any machine.
    for (long first = 0; first < rows; first += NORM_ROWS) {
      long end = Math.min(rows, first + NORM_ROWS);
      Stretch stretch = new Stretch(first, end, data);
      int length = Math.toIntExact((end - first) * columns);
      float[] delta = new float[length];
      stretch.delta(first * columns, delta);
      MemorySegment in = stored.read(first * columns, length);
      float[] values = Values.floats(in, dtype, length);
      for (int i = 0; i < length; i++) {
        double value = values[i] + delta[i];
        squares[transposed ? i % wide : (int) first + i / wide] += value * value;
      }
      MappedData.release(in);
    }
    float[] factors = Values.floats(data.apply(wanted), wanted.dtype(), outputs);
    for (int i = 0; i < outputs; i++) {
      factors[i] /= (float) Math.sqrt(squares[i]);
    }
    rowFactors = factors;
    return factors;
  }
}
