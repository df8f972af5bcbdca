package org.fishermerge.data;

import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;
import org.fishermerge.checkpoint.InputException;

/**
 * The cells of a label column as numbers: integers and whole floating-point numbers are those,
 * booleans 0 and 1, and texts are numbered in order of the names that occur, as {@code
 * class_encode_column} of {@code datasets} does it. Filled cell by cell, in order.
 */
final class TableLabels {
  /** More different texts than this are no classes. */
  private static final int MOST_NAMES = 1 << 16;

  /**
   * Labels that room is made for at first; what a damaged file says of its rows is not believed.
   */
  private static final int FIRST_ROOM = 1 << 16;

  private final int size;
  private long[] values;
  private final LongFunction<String> names;
  private final Map<String, Integer> numbers = new LinkedHashMap<>();
  private int next;

  /**
   * @param size how many there will be
   * @param names names a row in messages
   */
  TableLabels(int size, LongFunction<String> names) {
    this.size = size;
    this.values = new long[Math.min(size, FIRST_ROOM)];
    this.names = names;
  }

  /** How many there are so far. */
  int count() {
    return next;
  }

  void addNone() {
    add(Examples.NO_LABEL);
  }

  void add(long value) {
    if (next == size) {
      throw new IndexOutOfBoundsException("more labels than " + size + " rows");
    }
    if (next == values.length) {
      values = Arrays.copyOf(values, (int) Math.min(size, 2L * next));
    }
    values[next++] = value;
  }

  /** An integer of 64 bits without a sign. */
  void addUnsigned(long value) {
    if (value < 0) {
      throw new InputException(
          "%s: the label is %s, which is no class"
              .formatted(names.apply(next), Long.toUnsignedString(value)));
    }
    add(value);
  }

  void add(double value) {
    if (Double.isNaN(value)) {
      addNone();
      return;
    }
    if (value != Math.rint(value) || Math.abs(value) > 1L << 53) {
      throw new InputException(
          "%s: the label is %s; classes are whole numbers, and scores or regression targets are no"
                  .formatted(names.apply(next), value)
              + " labels");
    }
    add((long) value);
  }

  void add(String name) {
    Integer known = numbers.putIfAbsent(name, numbers.size());
    if (numbers.size() > MOST_NAMES) {
      throw new InputException(
          "%s: the labels are more than %d different texts; that is no column of classes"
              .formatted(names.apply(next), MOST_NAMES));
    }
    add((long) (known == null ? numbers.size() - 1 : known));
  }

  /** The names that occur, in order; empty if labels are numbers. */
  List<String> names() {
    return numbers.keySet().stream().sorted().toList();
  }

  /** All labels, those that are texts by their place among the {@link #names}. */
  long[] values() {
    long[] all = Arrays.copyOf(values, next);
    if (numbers.isEmpty()) {
      return all;
    }
    List<String> sorted = names();
    int[] places = new int[numbers.size()];
    numbers.forEach((name, number) -> places[number] = Collections.binarySearch(sorted, name));
    return Arrays.stream(all)
        .map(value -> value == Examples.NO_LABEL ? value : places[(int) value])
        .toArray();
  }
}
