package org.fishermerge.checkpoint;

import java.util.List;

/**
 * One tensor of a safetensors header.
 *
 * @param name the name as stored
 * @param dtype element type
 * @param shape sizes, outermost first; empty for a scalar
 * @param begin first byte, relative to the data section
 * @param end one past the last byte, relative to the data section
 */
public record TensorInfo(String name, DType dtype, List<Long> shape, long begin, long end) {
  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** Size of the data in bytes. */
  public long byteCount() {
    return end - begin;
  }

  /**
   * Number of elements: the product of the shape, 1 for a scalar.
   *
   * @throws ArithmeticException if it exceeds 2^63-1, which no tensor of a validated header does
   */
  public long elementCount() {
    return elements(shape);
  }

  /** The shape for people, for example {@code [24, 3, 8, 8]}; {@code []} for a scalar. */
  public String shapeText() {
    return shape.toString();
  }

  static long elements(List<Long> shape) {
    long count = 1;
    for (long size : shape) {
      count = Math.multiplyExact(count, size);
    }
    return count;
  }

  /**
   * Bytes that a tensor takes.
   *
   * @throws ArithmeticException if that exceeds 2^63-1 or is not a whole number of bytes
   */
  static long bytes(DType dtype, List<Long> shape) {
    long bits = Math.multiplyExact(elements(shape), dtype.bits());
    if (bits % Byte.SIZE != 0) {
      throw new ArithmeticException(bits + " bits are not a whole number of bytes");
    }
    return bits / Byte.SIZE;
  }
}
