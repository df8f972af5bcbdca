package org.fishermerge.data;

import java.lang.foreign.MemorySegment;
import java.util.function.BooleanSupplier;

/** Some rows of pictures. */
final class SlicedImages extends StoredImages implements SlicedExamples {
  private final StoredImages all;
  private final RowRanges ranges;
  private final String description;

  SlicedImages(StoredImages all, RowRanges ranges, String description) {
    super(all.processor);
    this.all = all;
    this.ranges = ranges;
    this.description = description;
  }

  @Override
  public Examples all() {
    return all;
  }

  @Override
  public RowRanges ranges() {
    return ranges;
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  long windowExamples() {
    return all.windowExamples();
  }

  @Override
  Window read(long[] indices, BooleanSupplier cancelled) {
    Window window = all.read(ranges.rows(indices), cancelled);
    return new Window() {
      @Override
      public void decode(int position, MemorySegment out) {
        try {
          window.decode(position, out);
        } catch (BadRowException e) {
          throw new BadRowException(indices[position], e.where(), e.reason(), e);
        }
      }
    };
  }

  @Override
  public void close() {
    all.close();
  }
}
