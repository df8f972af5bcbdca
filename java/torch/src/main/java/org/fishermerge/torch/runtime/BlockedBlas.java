package org.fishermerge.torch.runtime;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The BLAS that libtorch is linked with, OpenBLAS, with the same bits for any number of threads.
 * OpenBLAS divides its work by the number of its threads, and rounds differently at the edges of
 * the parts. So results are computed here in blocks whose size depends on the shape alone, each by
 * a call on one thread; as many threads as OpenBLAS is set to take one block after the other. While
 * that lasts OpenBLAS has one thread for the whole process.
 *
 * <p>For F32 or F64 in the process's memory. Several threads may call at once.
 */
final class BlockedBlas {
  /**
   * Most rows and columns of a block. For smaller ones packing the operands again for each block
   * takes a tenth of the time and more.
   */
  private static final long ROWS = 512;

  private static final long COLUMNS = 1536;

  /** Blocks of a product that is large enough: more threads than blocks cannot share it. */
  private static final long LEAST_BLOCKS = 2;

  /** Rows that a block has rather than being cut across its columns. */
  private static final long LEAST_ROWS = 256;

  /** Multiplications that are worth waking another thread: about 0.1 ms. */
  private static final double LEAST_WORK = 5e6;

  /** Rows of a strip of a symmetric product, an eighth of all if that lies between. */
  private static final long LEAST_STRIP = 192;

  private static final long MOST_STRIP = 384;

  /** Elements of a part of a dot product. */
  private static final long DOT = 1 << 18;

  /** Most columns of a block of right-hand sides. */
  private static final long SIDES = 256;

  // cblas.h
  private static final int ROW_MAJOR = 101;
  private static final int AS_IS = 111;
  private static final int TRANSPOSED = 112;
  private static final int LOWER = 122;
  private static final int DIAGONAL_STORED = 131;
  private static final int FROM_THE_LEFT = 141;

  private static final MethodHandle GET_THREADS =
      function("openblas_get_num_threads", FunctionDescriptor.of(ValueLayout.JAVA_INT));
  private static final MethodHandle SET_THREADS =
      function("openblas_set_num_threads", FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));
  private static final MethodHandle SGEMM = function("cblas_sgemm", gemm(ValueLayout.JAVA_FLOAT));
  private static final MethodHandle DGEMM = function("cblas_dgemm", gemm(ValueLayout.JAVA_DOUBLE));
  private static final MethodHandle SDOT =
      function(
          "cblas_sdot",
          FunctionDescriptor.of(
              ValueLayout.JAVA_FLOAT,
              ValueLayout.JAVA_INT,
              ValueLayout.ADDRESS,
              ValueLayout.JAVA_INT,
              ValueLayout.ADDRESS,
              ValueLayout.JAVA_INT));
  private static final MethodHandle STRSM = function("cblas_strsm", trsm(ValueLayout.JAVA_FLOAT));
  private static final MethodHandle DTRSM = function("cblas_dtrsm", trsm(ValueLayout.JAVA_DOUBLE));

  private static final Object LOCK = new Object();

  /** Calls that hold OpenBLAS at one thread, and what it had before the first of them. */
  private static int holders;

  private static int threadsBefore;

  private BlockedBlas() {}

  @SuppressWarnings("restricted")
  private static MethodHandle function(String name, FunctionDescriptor descriptor) {
    Pointer address = Loader.addressof(name);
    if (address == null) {
      throw new IllegalStateException(
          "libtorch is not linked with OpenBLAS, which solves layers: it has no "
              + name
              + ". Take the libtorch of the org.bytedeco presets, which a system's own hides where"
              + " org.bytedeco.javacpp.pathsFirst is set; --rule fisher and the average need neither");
    }
    return Linker.nativeLinker()
        .downcallHandle(MemorySegment.ofAddress(address.address()), descriptor);
  }

  private static FunctionDescriptor gemm(ValueLayout scalar) {
    ValueLayout number = ValueLayout.JAVA_INT;
    ValueLayout matrix = ValueLayout.ADDRESS;
    return FunctionDescriptor.ofVoid(
        number, number, number, number, number, number, scalar, matrix, number, matrix, number,
        scalar, matrix, number);
  }

  private static FunctionDescriptor trsm(ValueLayout scalar) {
    ValueLayout number = ValueLayout.JAVA_INT;
    ValueLayout matrix = ValueLayout.ADDRESS;
    return FunctionDescriptor.ofVoid(
        number, number, number, number, number, number, number, scalar, matrix, number, matrix,
        number);
  }

  /** Does some work in which OpenBLAS, and so LAPACK, runs on the calling thread. */
  static <T> T onOneThread(Supplier<T> work) {
    hold();
    try {
      return work.get();
    } finally {
      release();
    }
  }

  private static int hold() {
    synchronized (LOCK) {
      if (holders++ == 0) {
        threadsBefore = threads();
        setThreads(1);
      }
      return threadsBefore;
    }
  }

  private static void release() {
    synchronized (LOCK) {
      if (--holders == 0) {
        setThreads(threadsBefore);
      }
    }
  }

  /** What OpenBLAS is set to, by its environment variables. */
  static int threads() {
    try {
      return (int) GET_THREADS.invokeExact();
    } catch (Throwable e) {
      throw new IllegalStateException("openblas_get_num_threads", e);
    }
  }

  static void setThreads(int threads) {
    try {
      SET_THREADS.invokeExact(threads);
    } catch (Throwable e) {
      throw new IllegalStateException("openblas_set_num_threads", e);
    }
  }

  /**
   * How a matrix lies in memory.
   *
   * @param stride elements from one row to the next; if transposed, from one column to the next
   */
  private record Layout(int transposed, int stride) {
    /** That of a tensor's last two dimensions; null if BLAS cannot read them as they are. */
    static @Nullable Layout of(Tensor a) {
      long rows = a.size(-2);
      long columns = a.size(-1);
      long down = rows == 1 ? columns : a.stride(-2);
      if ((columns == 1 || a.stride(-1) == 1) && down >= columns) {
        return new Layout(AS_IS, Math.toIntExact(down));
      }
      long across = columns == 1 ? rows : a.stride(-1);
      if ((rows == 1 || a.stride(-2) == 1) && across >= rows) {
        return new Layout(TRANSPOSED, Math.toIntExact(across));
      }
      return null;
    }

    /** Where an element lies, in elements from the first one. */
    long at(long row, long column) {
      return transposed == AS_IS ? row * stride + column : row + column * stride;
    }
  }

  /** Part of a matrix. */
  private record Block(long row, int rows, long column, int columns) {}

  /**
   * into = keep * into + factor * a b, for one matrix or for each of several.
   *
   * @param into [..., m, n], with rows that lie one after the other; may be uninitialised where
   *     keep is 0
   * @param a [..., m, k], of the same leading dimensions or without some of the first of them
   * @param b [..., k, n], likewise
   */
  static void multiply(Tensor into, double keep, double factor, Tensor a, Tensor b) {
    multiply(into, keep, factor, a, b, grid(into.size(-2), into.size(-1), a.size(-1)));
  }

  /**
   * The same for one matrix [n, n], of which at least what lies on and below the diagonal is
   * computed.
   */
  static void multiplyLower(Tensor into, double keep, double factor, Tensor a, Tensor b) {
    multiply(into, keep, factor, a, b, lower(into.size(0)));
  }

  private static void multiply(
      Tensor into, double keep, double factor, Tensor a, Tensor b, List<Block> blocks) {
    Layout left = Layout.of(a);
    if (left == null) {
      multiply(into, keep, factor, a.contiguous(), b, blocks);
      return;
    }
    Layout right = Layout.of(b);
    if (right == null) {
      multiply(into, keep, factor, a, b.contiguous(), blocks);
      return;
    }
    long[] products = offsets(into, into);
    long[] lefts = offsets(a, into);
    long[] rights = offsets(b, into);
    int k = Math.toIntExact(a.size(-1));
    int stride = Math.toIntExact(into.size(-2) == 1 ? into.size(-1) : into.stride(-2));
    boolean single = into.element_size() == Float.BYTES;
    long x = a.data_ptr().address();
    long y = b.data_ptr().address();
    long z = into.data_ptr().address();
    long width = into.element_size();
    long calls = products.length * (long) blocks.size();
    // Small products are handed out by the dozen. That decides who computes what, not the bits.
    double work = (double) into.numel() * k / calls;
    long together = Math.clamp((long) (LEAST_WORK / work), 1, Math.max(1, calls));
    forEach(
        (calls + together - 1) / together,
        share -> {
          for (long call = share * together;
              call < Math.min(calls, (share + 1) * together);
              call++) {
            int one = (int) (call / blocks.size());
            Block block = blocks.get((int) (call % blocks.size()));
            gemm(
                single,
                left,
                right,
                block,
                k,
                factor,
                x + (lefts[one] + left.at(block.row, 0)) * width,
                y + (rights[one] + right.at(0, block.column)) * width,
                keep,
                z + (products[one] + block.row * stride + block.column) * width,
                stride);
          }
        },
        a,
        b,
        into);
  }

  private static void gemm(
      boolean single,
      Layout left,
      Layout right,
      Block block,
      int k,
      double factor,
      long x,
      long y,
      double keep,
      long z,
      int stride) {
    MemorySegment a = MemorySegment.ofAddress(x);
    MemorySegment b = MemorySegment.ofAddress(y);
    MemorySegment into = MemorySegment.ofAddress(z);
    try {
      if (single) {
        SGEMM.invokeExact(
            ROW_MAJOR,
            left.transposed,
            right.transposed,
            block.rows,
            block.columns,
            k,
            (float) factor,
            a,
            left.stride,
            b,
            right.stride,
            (float) keep,
            into,
            stride);
      } else {
        DGEMM.invokeExact(
            ROW_MAJOR,
            left.transposed,
            right.transposed,
            block.rows,
            block.columns,
            k,
            factor,
            a,
            left.stride,
            b,
            right.stride,
            keep,
            into,
            stride);
      }
    } catch (Throwable e) {
      throw new IllegalStateException("gemm", e);
    }
  }

  /** Where each matrix of a tensor begins, in elements, in the order of another's, to broadcast. */
  private static long[] offsets(Tensor tensor, Tensor like) {
    long[] offsets = {0};
    long missing = like.dim() - tensor.dim();
    for (long d = 0; d < like.dim() - 2; d++) {
      long stride = d < missing ? 0 : tensor.stride(d - missing);
      int size = Math.toIntExact(like.size(d));
      long[] next = new long[offsets.length * size];
      for (int i = 0; i < next.length; i++) {
        next[i] = offsets[i / size] + i % size * stride;
      }
      offsets = next;
    }
    return offsets;
  }

  private static List<Block> grid(long m, long n, long k) {
    long down = parts(m, ROWS);
    long across = parts(n, COLUMNS);
    double work = (double) m * n * k;
    while (down * across < LEAST_BLOCKS && work / (down * across) > LEAST_WORK) {
      if (m / down >= LEAST_ROWS) {
        down *= 2;
      } else {
        across *= 2;
      }
    }
    List<Block> blocks = new ArrayList<>();
    for (long i = 0; i < down; i++) {
      for (long j = 0; j < across; j++) {
        add(blocks, i * m / down, (i + 1) * m / down, j * n / across, (j + 1) * n / across);
      }
    }
    return blocks;
  }

  /** Strips of rows, each up to the last of their columns; the longest first, to end together. */
  private static List<Block> lower(long n) {
    long rows = Math.clamp((n + 7) / 8, Math.min(n, LEAST_STRIP), MOST_STRIP);
    long strips = (n + rows - 1) / rows;
    List<Block> blocks = new ArrayList<>();
    for (long i = strips - 1; i >= 0; i--) {
      long end = (i + 1) * n / strips;
      long across = (end + COLUMNS - 1) / COLUMNS;
      for (long j = 0; j < across; j++) {
        add(blocks, i * n / strips, end, j * end / across, (j + 1) * end / across);
      }
    }
    return blocks;
  }

  private static void add(List<Block> blocks, long row, long endRow, long column, long endColumn) {
    if (row < endRow && column < endColumn) {
      blocks.add(new Block(row, (int) (endRow - row), column, (int) (endColumn - column)));
    }
  }

  /** The sum of a_j b_j of vectors in F32, each summed in parts. */
  static double dot(Tensor a, Tensor b) {
    long count = a.numel();
    MemorySegment x = Tensors.segment(a);
    MemorySegment y = Tensors.segment(b);
    double[] sums = new double[Math.toIntExact((count + DOT - 1) / DOT)];
    forEach(
        sums.length,
        part -> {
          int length = (int) Math.min(DOT, count - part * DOT);
          try {
            sums[(int) part] =
                (float)
                    SDOT.invokeExact(
                        length,
                        x.asSlice(part * DOT * Float.BYTES),
                        1,
                        y.asSlice(part * DOT * Float.BYTES),
                        1);
          } catch (Throwable e) {
            throw new IllegalStateException("dot", e);
          }
        },
        a,
        b);
    return Arrays.stream(sums).sum();
  }

  /** x = (l l^T)^-1 x, with l [n, n] lower triangular and x [n, m]. */
  static void solve(Tensor l, Tensor x) {
    int n = (int) l.size(0);
    long m = x.size(1);
    MemorySegment triangle = Tensors.segment(l);
    MemorySegment sides = Tensors.segment(x);
    boolean single = x.element_size() == Float.BYTES;
    long width = x.element_size();
    long across = parts(m, SIDES);
    forEach(
        across,
        block -> {
          long column = block * m / across;
          int columns = (int) ((block + 1) * m / across - column);
          MemorySegment y = sides.asSlice(column * width);
          try {
            for (int transposed : new int[] {AS_IS, TRANSPOSED}) {
              if (single) {
                STRSM.invokeExact(
                    ROW_MAJOR,
                    FROM_THE_LEFT,
                    LOWER,
                    transposed,
                    DIAGONAL_STORED,
                    n,
                    columns,
                    1f,
                    triangle,
                    n,
                    y,
                    (int) m);
              } else {
                DTRSM.invokeExact(
                    ROW_MAJOR,
                    FROM_THE_LEFT,
                    LOWER,
                    transposed,
                    DIAGONAL_STORED,
                    n,
                    columns,
                    1.0,
                    triangle,
                    n,
                    y,
                    (int) m);
              }
            }
          } catch (Throwable e) {
            throw new IllegalStateException("trsm", e);
          }
        },
        l,
        x);
  }

  /** A power of two, so that an even number of threads has even shares. */
  private static long parts(long size, long most) {
    long parts = 1;
    while (size > most * parts) {
      parts *= 2;
    }
    return parts;
  }

  /**
   * Shares blocks among threads.
   *
   * @param operands of which the work uses the addresses alone: one that nobody else holds must not
   *     be freed meanwhile
   */
  private static void forEach(long blocks, LongConsumer work, Tensor... operands) {
    int threads = hold();
    try {
      Workers.forEach(threads, blocks, work);
    } finally {
      release();
      Reference.reachabilityFence(operands);
    }
  }
}
