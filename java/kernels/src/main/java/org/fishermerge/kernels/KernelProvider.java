package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One implementation of the kernels: single-threaded work on ranges. Whoever calls has checked all
 * arguments, and passes segments that any thread may use; {@link Kernels} is the only caller.
 */
interface KernelProvider {
  /** One of the names that {@code fishermerge.provider} knows. */
  String name();

  /** Instruction set in use. */
  String isa();

  /** Items are elements of {@code out}. The arena outlives the task. */
  RangeTask weightedAverage(WeightedAverage average, Arena arena);

  /** Here the sum depends on the range: 16 interleaved partial sums and a tree over them. */
  ValueStatistics statistics(
      MemorySegment x, ElementType type, long begin, long end, double threshold);

  /** Fills {@code sums}, which is new. */
  void pairSums(List<TypedValues> rows, long begin, long end, PairSums sums);

  /** Items are elements. */
  RangeTask addSquares(MemorySegment gradient, double scale, MemorySegment fisher);

  /** Bytes that {@link #outerSquares} takes from the workspace. */
  long outerSquaresBytes(Batch batch, long inputs, int threads);

  /** The steps of an outer-square accumulation; each step needs all of the one before. */
  List<WorkerPool.Step> outerSquares(
      Batch batch,
      Activations a,
      long inputs,
      MemorySegment fisher,
      MemorySegment workspace,
      int threads,
      Arena arena);

  /** Items are outputs. */
  RangeTask addTokenSumSquares(Batch batch, MemorySegment fisher, Arena arena);

  /** Items are features. */
  RangeTask addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift,
      Arena arena);

  /** Items are columns. */
  RangeTask addEmbeddingSquares(
      Batch batch, MemorySegment ids, long rows, MemorySegment fisher, Arena arena);

  /**
   * Cotangents with their dimensions and weights; weight [v, b] is element {@code v * weightStride
   * + b}.
   */
  record Batch(
      TokenShape shape,
      long width,
      Cotangents g,
      @Nullable MemorySegment weights,
      long weightStride) {}
}
