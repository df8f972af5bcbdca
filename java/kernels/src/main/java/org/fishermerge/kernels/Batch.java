package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Cotangents {@code g[v, b, t, o]} of a layer with their dimensions and weights.
 *
 * @param width number of outputs o
 * @param weights F32, weight [v, b] at element {@code v * weightStride + b}; null for 1
 */
record Batch(
    TokenShape shape,
    long width,
    Cotangents g,
    @Nullable MemorySegment weights,
    long weightStride) {

  boolean isEmpty() {
    return shape.probes() == 0 || shape.examples() == 0 || shape.tokens() == 0 || width == 0;
  }

  /** A double, because the product may exceed a long. */
  double elements() {
    return (double) shape.probes() * shape.examples() * shape.tokens() * width;
  }

  /**
   * Calls the task for consecutive ranges of examples, so that the workspace of each range stays
   * within a limit where that is possible; a range has at least one example.
   *
   * @param workspaceBytes what all examples together would need
   */
  void split(Activations a, long workspaceBytes, long limit, BiConsumer<Batch, Activations> task) {
    int examples = shape.examples();
    int most = Math.clamp((long) (examples * ((double) limit / workspaceBytes)), 1, examples);
    for (int from = 0; from < examples; from += most) {
      task.accept(range(from, Math.min(most, examples - from)), a.from(from));
    }
  }

  private Batch range(int from, int count) {
    return new Batch(
        new TokenShape(shape.probes(), count, shape.tokens()),
        width,
        new Cotangents(
            g.data().asSlice((long) Float.BYTES * from * g.exampleStride()),
            g.probeStride(),
            g.exampleStride(),
            g.tokenStride()),
        weights == null ? null : weights.asSlice((long) Float.BYTES * from),
        weightStride);
  }
}
