package org.fishermerge.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Some consecutive examples of a selection. Belongs to whoever took it from the {@link
 * BatchIterator}; its memory is valid, for any thread, until it is closed.
 */
public final class ImageBatch implements AutoCloseable {
  private static final long ALIGNMENT = 64;

  private final Arena arena = Arena.ofShared();
  private final int count;
  private final int height;
  private final int width;
  private final long firstIndex;
  private final MemorySegment pixels;
  private final long @Nullable [] labels;

  ImageBatch(int count, int height, int width, long firstIndex, boolean labelled) {
    this.count = count;
    this.height = height;
    this.width = width;
    this.firstIndex = firstIndex;
    this.labels = labelled ? new long[count] : null;
    try {
      this.pixels = arena.allocate(count * exampleBytes(), ALIGNMENT);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /** Number of examples; the last batch of a selection may have fewer than the others. */
  public int count() {
    return count;
  }

  /** Always 3: red, green, blue. */
  public int channels() {
    return 3;
  }

  /** Height of every picture. */
  public int height() {
    return height;
  }

  /** Width of every picture. */
  public int width() {
    return width;
  }

  /** The processed pictures: F32 [count, 3, height, width], contiguous, 64-byte aligned. */
  public MemorySegment pixels() {
    return pixels;
  }

  /** Whether the data set has labels. */
  public boolean labelled() {
    return labels != null;
  }

  /**
   * The label of each example; not a copy.
   *
   * @throws IllegalStateException if the data set has none
   */
  public long[] labels() {
    if (labels == null) {
      throw new IllegalStateException("the data set has no labels");
    }
    return labels;
  }

  /** Position in the selection, from 0, of the first example of this batch. */
  public long firstIndex() {
    return firstIndex;
  }

  /** Frees the pixels. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  /** Where example {@code i} of the batch goes. */
  MemorySegment example(int i) {
    return pixels.asSlice(i * exampleBytes(), exampleBytes());
  }

  private long exampleBytes() {
    return 3L * height * width * Float.BYTES;
  }
}
