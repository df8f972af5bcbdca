package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * One implementation of the kernels on the CPU: single-threaded work on ranges. {@link CpuEngine}
 * is the only caller; its operands have been checked, and any thread may use their segments.
 */
interface KernelProvider {
  /** {@link Provider#SCALAR} or {@link Provider#CPU}. */
  Provider provider();

  /** Whether the native library reads the operands, and not Java. */
  boolean isNative();

  /** Instruction set in use. */
  String isa();

  /** Items are elements of {@code out}. The arena outlives the task. */
  RangeWork weightedAverage(WeightedAverage average, Arena arena);

  /** Here the sum depends on the range: 16 interleaved partial sums and a tree over them. */
  ValueStatistics statistics(
      MemorySegment x, ElementType type, long begin, long end, double threshold);

  /** Fills {@code sums}, which is new. */
  void pairSums(List<TypedValues> rows, long begin, long end, PairSums sums);

  /** Items are elements of {@code out}. The arena outlives the task. */
  RangeWork taskVectors(TaskVectorMix mix, Arena arena);

  /** Of the differences between two rows. The arena outlives the scan. */
  MagnitudeScan magnitudes(TypedValues values, TypedValues base, Arena arena);

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

  /** Here the sums depend on the range, as those of {@link #statistics} do. */
  TaskVectorNorms taskVectorNorms(
      TaskVector vector, TypedValues base, long first, long begin, long end);

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
