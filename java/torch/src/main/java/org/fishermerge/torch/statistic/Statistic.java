package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.LayerVisitor;
import org.jspecify.annotations.Nullable;

/**
 * Sums over examples of what backward passes show of each layer. Sums of different examples add up,
 * so that parts of a run can be computed apart. Not thread-safe.
 */
public interface Statistic extends LayerVisitor, AutoCloseable {
  /**
   * Weights of the next backward pass.
   *
   * @param weights w[v,b] of the squares, fp32 [V, B], contiguous, where the model is; borrowed
   *     until the next call; null for one
   */
  void weights(@Nullable Tensor weights);

  /** Bytes of all sums. */
  long bytes();

  /** Bytes that its kernels keep for operands besides. */
  long workspaceBytes();

  /** Runs a backward pass and returns the most memory that malloc had handed out at any layer. */
  long peakOf(Runnable backward);

  /**
   * The sums by canonical parameter name, fp32, in the parameter's own layout, in the process's
   * memory; valid until it is closed.
   */
  Map<String, MemorySegment> byName();

  /** Makes what was written to the segments of the last {@link #byName} the sums. */
  void store();

  /** Multiplies every sum. */
  void scale(double factor);

  @Override
  void close();
}
