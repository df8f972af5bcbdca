package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Kernels that go through the elements of parameters: single-threaded work on ranges, as all of
 * {@link KernelProvider}. Operands are native and as long as the work needs.
 */
interface ElementKernels {
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

  /** Here the sums depend on the range, as those of {@link #statistics} do. */
  TaskVectorNorms taskVectorNorms(
      TaskVector vector, TypedValues base, long first, long begin, long end);

  /** Elements [begin, end) of an operand where Java can read them, until the thread's next call. */
  default MemorySegment view(MemorySegment operand, ElementType type, long begin, long end) {
    return operand.asSlice(begin * type.bytes(), (end - begin) * type.bytes());
  }
}
