package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.LayerVisitor;
import org.jspecify.annotations.Nullable;

/**
 * Sums over examples of what forward and backward passes show of each layer. Sums of different
 * examples add up, so that parts of a run can be computed apart. Not thread-safe.
 */
public interface Statistic extends LayerVisitor, AutoCloseable {
  /**
   * What a statistic must know of a backward pass beside what layers show.
   *
   * @param weights w[v,b] of the squares, fp32 [V, B], contiguous, where the model is; null for one
   * @param first whether it is the first of its batch, in which every layer's input counts
   * @param realTokens which tokens of the inputs are no padding, fp32 [B, T] of ones and zeros;
   *     null for all
   */
  record Pass(@Nullable Tensor weights, boolean first, @Nullable Tensor realTokens) {}

  /** Whether forward passes are to show the inputs of linear layers. */
  boolean takesInputs();

  /** Whether there are to be backward passes. */
  boolean takesGradients();

  /** Announces a backward pass; its tensors are borrowed until {@link #end}. */
  void begin(Pass pass);

  /** The backward pass is over. */
  void end();

  /**
   * Whether the first backward pass of a batch must show all of its examples, those that have no
   * cotangent with zeros.
   */
  boolean needsAllInputs();

  /** Bytes of all sums. */
  long bytes();

  /** Bytes that its kernels keep for operands besides. */
  long workspaceBytes();

  /**
   * Runs passes that count for nothing: inputs are looked at only, cotangents are zeros.
   *
   * @return the most memory that malloc had handed out at any layer; 0 where that cannot be told
   */
  long trial(Runnable passes);

  /**
   * The sums, fp32, in the process's memory; valid until it is closed. Of a value for each
   * parameter by its canonical name and in its own layout.
   */
  Map<String, MemorySegment> byName();

  /** Makes what was written to the segments of the last {@link #byName} the sums. */
  void store();

  /** Multiplies every sum of squares. */
  void scale(double factor);

  @Override
  void close();
}
