package org.fishermerge.data;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/** Some rows of pictures, which have numbers of their own. Closing it closes these pictures. */
final class SlicedImages extends StoredImages {
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
  public long size() {
    return ranges.size();
  }

  @Override
  public boolean labelled() {
    return all.labelled();
  }

  @Override
  public long[] labels() {
    return ranges.select(all.labels());
  }

  @Override
  public Optional<List<String>> classNames() {
    return all.classNames();
  }

  @Override
  public boolean labelsAreNames() {
    return all.labelsAreNames();
  }

  @Override
  public String where(long row) {
    return all.where(ranges.row(row));
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
