package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Gradients of the log-probability with respect to a layer's outputs, {@code g[v, b, t, o]} of
 * shape [V, B, T, width]: the element is at {@code v * probeStride + b * exampleStride + t *
 * tokenStride + o}. Strides count elements; the last dimension is contiguous.
 *
 * @param data F32, off-heap or in the memory of {@link Kernels#memory}
 * @param probeStride elements from a probe to the next, at least 0
 * @param exampleStride elements from an example to the next, at least 0
 * @param tokenStride elements from a token to the next, at least 0
 */
public record Cotangents(
    MemorySegment data, long probeStride, long exampleStride, long tokenStride) {
  /** Rejects negative strides. */
  public Cotangents {
    Bounds.requireStride("g.probeStride", probeStride);
    Bounds.requireStride("g.exampleStride", exampleStride);
    Bounds.requireStride("g.tokenStride", tokenStride);
  }

  /** Contiguous {@code [V, B, T, width]}. */
  public static Cotangents contiguous(MemorySegment data, TokenShape shape, long width) {
    long example = Math.multiplyExact(shape.tokens(), width);
    return new Cotangents(data, Math.multiplyExact(shape.examples(), example), example, width);
  }
}
