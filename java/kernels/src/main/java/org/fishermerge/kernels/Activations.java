package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/**
 * A layer's inputs, {@code a[b, t, i]} of shape [B, T, width]: the element is at {@code b *
 * exampleStride + t * tokenStride + i}. Strides count elements; the last dimension is contiguous.
 *
 * @param data F32, off-heap or in the memory of {@link Kernels#memory}
 * @param exampleStride elements from an example to the next, at least 0
 * @param tokenStride elements from a token to the next, at least 0
 */
public record Activations(MemorySegment data, long exampleStride, long tokenStride) {
  /** Rejects negative strides. */
  public Activations {
    Bounds.requireStride("a.exampleStride", exampleStride);
    Bounds.requireStride("a.tokenStride", tokenStride);
  }

  /** Contiguous {@code [B, T, width]}. */
  public static Activations contiguous(MemorySegment data, TokenShape shape, long width) {
    return new Activations(data, Math.multiplyExact(shape.tokens(), width), width);
  }

  /** The inputs from an example on. */
  Activations from(int example) {
    return new Activations(
        data.asSlice((long) Float.BYTES * example * exampleStride), exampleStride, tokenStride);
  }
}
