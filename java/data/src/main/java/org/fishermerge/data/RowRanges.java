package org.fishermerge.data;

import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SplitSlice.Range;

/** Which rows of some data are meant, in order: ranges one after the other. */
final class RowRanges {
  private final List<Range> ranges;
  private final long[] firsts;
  private final long size;

  /**
   * @throws InputException if that is no row at all
   */
  RowRanges(List<Range> ranges, String description) {
    this.ranges = List.copyOf(ranges);
    this.firsts = new long[ranges.size()];
    long total = 0;
    for (int i = 0; i < ranges.size(); i++) {
      firsts[i] = total;
      total += ranges.get(i).size();
    }
    this.size = total;
    if (size == 0) {
      throw new InputException(description + ": no rows; the slice is empty");
    }
  }

  long size() {
    return size;
  }

  /** The row that is meant by the one at {@code index} of those that are meant. */
  long row(long index) {
    for (int i = firsts.length - 1; i >= 0; i--) {
      if (index >= firsts[i] && index - firsts[i] < ranges.get(i).size()) {
        return ranges.get(i).first() + index - firsts[i];
      }
    }
    throw new IndexOutOfBoundsException(index + " of " + size + " rows");
  }

  long[] rows(long[] indices) {
    long[] rows = new long[indices.length];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = row(indices[i]);
    }
    return rows;
  }

  /** The values of the rows that are meant. */
  long[] select(long[] ofAllRows) {
    long[] selected = new long[Math.toIntExact(size)];
    for (int i = 0; i < selected.length; i++) {
      selected[i] = ofAllRows[Math.toIntExact(row(i))];
    }
    return selected;
  }
}
