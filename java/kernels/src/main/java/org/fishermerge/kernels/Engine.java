package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.OptionalLong;

/**
 * Whole operations of {@link Kernels}, which is the only caller: it has checked all operands, keeps
 * them reachable until a call returns, and makes one call at a time, none after {@link #close}. The
 * segments that it passes have exactly the bytes that an operation needs, and any thread may use
 * them. The operations are defined there; results have the same bits for any number of threads.
 *
 * <p>{@link CpuEngine} implements all of them. {@link CudaEngine} implements those for which there
 * are CUDA kernels, and passes the others on to a CPU engine.
 */
interface Engine extends AutoCloseable {
  /** What runs the kernels. */
  KernelInfo info();

  /** Whether operands of the {@code add...} operations lie in a GPU's memory. */
  boolean usesGpu();

  /** Bytes that are free on the GPU now; empty without one. */
  OptionalLong gpuFreeBytes();

  /** Knows of mapped files until the guard is closed. Any thread may call it. */
  MappedGuard guard(List<MappedFile> files);

  /** Keeps copies of segments where the engine has memory of its own, if all of them have room. */
  ResidentInputs keepResident(List<MemorySegment> segments);

  /** New memory for the operands of the {@code add...} operations. */
  KernelMemory memory();

  /** An operand of an {@code add...} operation where the process can read it, copied if need be. */
  MemorySegment readable(MemorySegment operand);

  /** One average. */
  void weightedAverage(WeightedAverage average);

  /**
   * Several averages and their statistics.
   *
   * @param thresholds one for each input of every average, all of which have Fishers; or empty
   * @param visitor is shown all elements
   */
  List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds, AverageVisitor visitor);

  /** Statistics of each range; sums of squares are over blocks of 4096 elements, added in order. */
  List<ValueStatistics> statistics(List<TypedValues> ranges, double threshold);

  /** Sums over blocks of 65536 elements, added in order. */
  PairSums pairSums(List<TypedValues> rows, long count);

  /** Several mixes of task vectors, and statistics of their results. */
  List<ValueStatistics> mixTaskVectors(List<TaskVectorMix> mixes);

  /** One for each query; threads share the queries. */
  List<RankedMagnitude> rankedMagnitudes(List<MagnitudeQuery> queries);

  /** Adds to the counters that each names; threads share the differences. */
  void countMagnitudes(List<CountedDifferences> differences);

  /** One for each vector of {@code mix}, which is not mixed; over blocks, added in order. */
  List<TaskVectorNorms> taskVectorNorms(TaskVectorMix mix);

  /** Squares of a gradient of {@code count} elements. */
  void addSquares(MemorySegment gradient, double scale, MemorySegment fisher, long count);

  /** The weight of a linear layer; the batch is not empty, and {@code inputs} is positive. */
  void addSquaredGradients(Batch batch, Activations a, long inputs, MemorySegment fisher);

  /** A bias; the batch is not empty. */
  void addTokenSumSquares(Batch batch, MemorySegment fisher);

  /** Scale and shift of a LayerNorm; the batch is not empty. */
  void addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift);

  /** An embedding table of {@code rows} rows; the batch is not empty, and all ids are rows. */
  void addEmbeddingSquares(Batch batch, MemorySegment ids, long rows, MemorySegment fisher);

  /** Bytes of workspace that is kept between calls. */
  long workspaceBytes();

  /** Ends threads and frees memory. {@link Kernels} calls it once. */
  @Override
  void close();
}
