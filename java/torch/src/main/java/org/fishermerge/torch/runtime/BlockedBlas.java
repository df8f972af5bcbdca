package org.fishermerge.torch.runtime;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;

/**
 * The BLAS that libtorch is linked with, OpenBLAS, with the same bits for any number of threads.
 * OpenBLAS divides its work by the number of its threads, and rounds differently at the edges of
 * the parts. So results are computed here in blocks whose size depends on the shape alone, each by
 * a call on one thread; as many threads as OpenBLAS is set to take one block after the other. While
 * that lasts OpenBLAS has one thread for the whole process.
 *
 * <p>For matrices in the process's memory, contiguous, F32 or F64. Several threads may call at
 * once.
 */
final class BlockedBlas {
  /**
   * Most rows and columns of a block. For smaller ones packing the operands again for each block
   * takes a tenth of the time and more.
   */
  private static final long ROWS = 512;

  private static final long COLUMNS = 1024;

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
  private static final MethodHandle STRSM = function("cblas_strsm", trsm(ValueLayout.JAVA_FLOAT));
  private static final MethodHandle DTRSM = function("cblas_dtrsm", trsm(ValueLayout.JAVA_DOUBLE));

  /** Threads end soon after the last block. */
  private static final Executor WORKERS =
      new ThreadPoolExecutor(
          0,
          Integer.MAX_VALUE,
          1,
          TimeUnit.SECONDS,
          new SynchronousQueue<>(),
          Thread.ofPlatform().daemon().name("blas-", 0).factory());

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

  /** into = keep * into + factor * a b; into, [m, n], may be uninitialised where keep is 0. */
  static void multiply(Tensor into, double keep, double factor, Tensor a, Tensor b) {
    long m = a.size(0);
    long k = a.size(1);
    long n = b.size(1);
    MemorySegment left = Tensors.segment(a);
    MemorySegment right = Tensors.segment(b);
    MemorySegment product = Tensors.segment(into);
    boolean single = into.element_size() == Float.BYTES;
    long width = into.element_size();
    long down = parts(m, ROWS);
    long across = parts(n, COLUMNS);
    forEach(
        down * across,
        block -> {
          long row = block / across * m / down;
          long column = block % across * n / across;
          int rows = (int) ((block / across + 1) * m / down - row);
          int columns = (int) ((block % across + 1) * n / across - column);
          MemorySegment x = left.asSlice(row * k * width);
          MemorySegment y = right.asSlice(column * width);
          MemorySegment z = product.asSlice((row * n + column) * width);
          try {
            if (single) {
              SGEMM.invokeExact(
                  ROW_MAJOR,
                  AS_IS,
                  AS_IS,
                  rows,
                  columns,
                  (int) k,
                  (float) factor,
                  x,
                  (int) k,
                  y,
                  (int) n,
                  (float) keep,
                  z,
                  (int) n);
            } else {
              DGEMM.invokeExact(
                  ROW_MAJOR, AS_IS, AS_IS, rows, columns, (int) k, factor, x, (int) k, y, (int) n,
                  keep, z, (int) n);
            }
          } catch (Throwable e) {
            throw new IllegalStateException("gemm", e);
          }
        });
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
        });
  }

  /** A power of two, so that an even number of threads has even shares. */
  private static long parts(long size, long most) {
    long parts = 1;
    while (size > most * parts) {
      parts *= 2;
    }
    return parts;
  }

  private static void forEach(long blocks, LongConsumer work) {
    int threads = hold();
    try {
      AtomicLong next = new AtomicLong();
      Runnable worker =
          () -> {
            for (long i = next.getAndIncrement(); i < blocks; i = next.getAndIncrement()) {
              work.accept(i);
            }
          };
      List<CompletableFuture<?>> others = new ArrayList<>();
      try {
        for (long i = 1; i < Math.min(threads, blocks); i++) {
          others.add(CompletableFuture.runAsync(worker, WORKERS));
        }
        worker.run();
      } finally {
        // Even where another thread cannot be started, and not to be interrupted: those that run
        // write to the caller's matrices.
        CompletableFuture.allOf(others.toArray(CompletableFuture<?>[]::new)).join();
      }
    } finally {
      release();
    }
  }
}
