package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;

/** The checks every segment passes before a kernel sees its address. */
final class Bounds {
  private Bounds() {}

  static void requireStride(String name, long stride) {
    if (stride < 0) {
      throw new IllegalArgumentException("%s must not be negative: %d".formatted(name, stride));
    }
  }

  static long requireCount(String name, long count) {
    if (count < 0) {
      throw new IllegalArgumentException("%s must not be negative: %d".formatted(name, count));
    }
    return count;
  }

  /** Stands for the worker threads, where it must be known whether they may use a segment. */
  private static final Thread ANOTHER = Thread.ofPlatform().unstarted(() -> {});

  /** A view of exactly the needed bytes that any thread can use. */
  static MemorySegment readable(
      String name, MemorySegment segment, long elements, long elementBytes) {
    if (!segment.isNative()) {
      throw new IllegalArgumentException(name + " must be off-heap");
    }
    if (!segment.scope().isAlive() || !segment.isAccessibleBy(Thread.currentThread())) {
      throw new IllegalArgumentException(
          name
              + " must be alive and accessible by the calling thread "
              + Thread.currentThread().getName());
    }
    if (elements > Long.MAX_VALUE / elementBytes) {
      throw new IllegalArgumentException(
          "%s needs %d elements, more than can be addressed".formatted(name, elements));
    }
    long needed = elements * elementBytes;
    if (segment.byteSize() < needed) {
      throw new IllegalArgumentException(
          "%s is too short: %d bytes needed (%d elements of %d bytes), %d given"
              .formatted(name, needed, elements, elementBytes, segment.byteSize()));
    }
    return forAnyThread(name, segment, needed);
  }

  @SuppressWarnings("restricted")
  private static MemorySegment forAnyThread(String name, MemorySegment segment, long bytes) {
    try {
      return MemorySegment.ofAddress(segment.address()).reinterpret(bytes);
    } catch (IllegalCallerException e) {
      // Without native access kernels run in plain Java, which needs no address.
      if (segment.isAccessibleBy(ANOTHER)) {
        return segment.asSlice(0, bytes);
      }
      throw new IllegalArgumentException(
          "%s is confined to one thread, which needs native access: allocate it in a shared arena,"
                  .formatted(name)
              + " or start Java with "
              + NativeLibrary.enableNativeAccess(),
          e);
    }
  }

  static MemorySegment writable(
      String name, MemorySegment segment, long elements, long elementBytes) {
    if (segment.isReadOnly()) {
      throw new IllegalArgumentException(name + " must be writable");
    }
    return readable(name, segment, elements, elementBytes);
  }

  /**
   * One more than the largest index of a strided array, 0 where it is empty; sizes and strides
   * alternate.
   */
  static long extent(String name, long width, long... sizesAndStrides) {
    try {
      long last = width - 1;
      for (int k = 0; k < sizesAndStrides.length; k += 2) {
        if (sizesAndStrides[k] == 0 || width == 0) {
          return 0;
        }
        last =
            Math.addExact(last, Math.multiplyExact(sizesAndStrides[k] - 1, sizesAndStrides[k + 1]));
      }
      return Math.addExact(last, 1);
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(name + " spans more elements than can be addressed", e);
    }
  }

  static long product(String name, long... sizes) {
    try {
      long product = 1;
      for (long size : sizes) {
        product = Math.multiplyExact(product, size);
      }
      return product;
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(name + " has more elements than can be addressed", e);
    }
  }
}
