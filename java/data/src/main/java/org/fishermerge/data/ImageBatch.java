package org.fishermerge.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Set;

/**
 * Some consecutive examples of a selection. Belongs to whoever took it from the {@link
 * BatchIterator}; its memory is valid, for any thread, until it is closed.
 */
public final class ImageBatch implements AutoCloseable {
  private static final long ALIGNMENT = 64;

  private final Arena arena = Arena.ofShared();
  private final int height;
  private final int width;
  private final long firstIndex;
  private final MemorySegment pixels;
  private long[] rows;

  ImageBatch(long[] rows, int height, int width, long firstIndex) {
    this.rows = rows;
    this.height = height;
    this.width = width;
    this.firstIndex = firstIndex;
    try {
      this.pixels = arena.allocate(rows.length * exampleBytes(), ALIGNMENT);
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /**
   * Number of examples; the last batch of a selection may have fewer than the others, and one with
   * bad rows does, or none.
   */
  public int count() {
    return rows.length;
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
    return pixels.asSlice(0, rows.length * exampleBytes());
  }

  /** The place in the data set of each example; not a copy. */
  public long[] rows() {
    return rows;
  }

  /** Position in the selection, from 0, of the first row asked for in this batch. */
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

  /** Leaves examples out; those behind them move up. */
  void drop(Set<Integer> positions) {
    long[] kept = new long[rows.length - positions.size()];
    int to = 0;
    for (int from = 0; from < rows.length; from++) {
      if (!positions.contains(from)) {
        example(to).copyFrom(example(from));
        kept[to++] = rows[from];
      }
    }
    rows = kept;
  }

  private long exampleBytes() {
    return 3L * height * width * Float.BYTES;
  }
}
