package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * One implementation of the kernels on the CPU: single-threaded work on ranges. {@link CpuEngine}
 * is the only caller; its operands have been checked, and any thread may use their segments.
 */
interface KernelProvider extends ElementKernels {
  /** {@link Provider#SCALAR} or {@link Provider#CPU}. */
  Provider provider();

  /** Whether the native library reads the operands, and not Java. */
  boolean isNative();

  /** Instruction set in use. */
  String isa();

  /**
   * The one of a rank among F32 numbers that are not negative.
   *
   * @param rank from 0 to before {@code count}
   * @param least bound of all numbers
   * @param most the same; infinity where some may be NaN
   */
  SelectedMagnitude selectMagnitude(
      MemorySegment magnitudes, long count, long rank, float least, float most);

  /** How many of some F32 numbers are equal to one. */
  long countEqual(MemorySegment numbers, long count, float number);

  /** Items are elements. */
  RangeWork addSquares(MemorySegment gradient, double scale, MemorySegment fisher);

  /** Bytes that {@link #squaredGradients} takes from the workspace. */
  long squaredGradientsBytes(Batch batch, long inputs, int threads);

  /** The steps of a squared-gradient accumulation; each step needs all of the one before. */
  List<WorkerPool.Step> squaredGradients(
      Batch batch,
      Activations a,
      long inputs,
      MemorySegment fisher,
      MemorySegment workspace,
      int threads,
      Arena arena);

  /** Items are outputs. */
  RangeWork addTokenSumSquares(Batch batch, MemorySegment fisher, Arena arena);

  /** Items are features. */
  RangeWork addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift,
      Arena arena);

  /** Items are columns. */
  RangeWork addEmbeddingSquares(
      Batch batch, MemorySegment ids, long rows, MemorySegment fisher, Arena arena);
}
