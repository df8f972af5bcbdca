package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;

/** A set of integers, kept as ranges that neither overlap nor touch. */
final class Ranges {
  /** From {@code begin} to before {@code end}. */
  record Range(long begin, long end) {}

  private final TreeMap<Long, Long> ends = new TreeMap<>();

  void add(Range range) {
    long begin = range.begin();
    long end = range.end();
    Map.Entry<Long, Long> before = ends.floorEntry(begin);
    if (before != null && before.getValue() >= begin) {
      begin = before.getKey();
    }
    NavigableMap<Long, Long> joined = ends.subMap(begin, true, end, true);
    if (!joined.isEmpty()) {
      end = Math.max(end, joined.lastEntry().getValue());
    }
    joined.clear();
    ends.put(begin, end);
  }

  /** The parts of a range that are not in the set, in order. */
  List<Range> missing(Range range) {
    List<Range> missing = new ArrayList<>();
    Map.Entry<Long, Long> before = ends.floorEntry(range.begin());
    long at = before == null ? range.begin() : Math.max(range.begin(), before.getValue());
    for (Map.Entry<Long, Long> next :
        ends.subMap(range.begin(), false, range.end(), false).entrySet()) {
      missing.add(new Range(at, next.getKey()));
      at = next.getValue();
    }
    if (at < range.end()) {
      missing.add(new Range(at, range.end()));
    }
    return missing;
  }

  /** Makes this the same set as another. */
  void set(Ranges other) {
    ends.clear();
    ends.putAll(other.ends);
  }
}
