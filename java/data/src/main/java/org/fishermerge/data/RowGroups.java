package org.fishermerge.data;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** The groups of rows that a split's tables are made of; each is stored, and read, by itself. */
final class RowGroups<G extends RowGroups.Group> {
  /** Rows of a file that lie together. */
  interface Group {
    /** Their file. */
    Path path();

    /** The place of the first one in the file. */
    long rowInFile();

    /** The place of the first one among the rows of all files. */
    long first();

    /** How many, at least one. */
    long rows();
  }

  /** Reads some rows of one group. */
  interface Reading<G> {
    /**
     * Reads rows.
     *
     * @param positions places of the rows among those asked for, in stored order of the rows
     */
    void read(G group, int[] positions);
  }

  private final List<G> groups;
  private final long[] firsts;

  /** Groups in the order of their rows. */
  RowGroups(List<G> groups) {
    this.groups = List.copyOf(groups);
    this.firsts = groups.stream().mapToLong(Group::first).toArray();
  }

  List<G> all() {
    return groups;
  }

  /** As {@link TableRows#where}. */
  String where(long index) {
    G group = group(index);
    return group.path() + ", row " + (group.rowInFile() + index - group.first());
  }

  private G group(long index) {
    int found = Arrays.binarySearch(firsts, index);
    return groups.get(found >= 0 ? found : -found - 2);
  }

  /** Reads rows in stored order, group by group, whatever the order asked for. */
  void read(long[] indices, Reading<G> reading) {
    Integer[] order = new Integer[indices.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparingLong(i -> indices[i]));
    int next = 0;
    while (next < order.length) {
      G group = group(indices[order[next]]);
      int end = next;
      while (end < order.length && indices[order[end]] < group.first() + group.rows()) {
        end++;
      }
      reading.read(group, Arrays.stream(order, next, end).mapToInt(Integer::intValue).toArray());
      next = end;
    }
  }
}
