package org.fishermerge.data;

import dev.hardwood.metadata.LogicalType;
import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.schema.SchemaNode;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongFunction;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The cells of a label column as numbers: integers and whole floating-point numbers are those,
 * booleans 0 and 1, and texts are numbered in order of the names that occur, as {@code
 * class_encode_column} of {@code datasets} does it. Filled cell by cell.
 */
final class ParquetLabels {
  /** More different texts than this are no classes. */
  private static final int MOST_NAMES = 1 << 16;

  private final long[] values;
  private final Map<String, Integer> numbers = new LinkedHashMap<>();

  ParquetLabels(int size) {
    this.values = new long[size];
  }

  /** What a column holds that is no label; empty if it may hold labels. */
  static Optional<String> refusal(SchemaNode column) {
    if (!(column instanceof SchemaNode.PrimitiveNode leaf) || leaf.maxRepetitionLevel() != 0) {
      return Optional.of("lists or structs");
    }
    LogicalType logical = leaf.logicalType();
    boolean fits =
        switch (leaf.type()) {
          case INT32, INT64 ->
              logical == null
                  || logical instanceof LogicalType.IntType
                  || logical instanceof LogicalType.NullType;
          case FLOAT, DOUBLE, BOOLEAN -> true;
          case BYTE_ARRAY -> text(logical);
          case INT96, FIXED_LEN_BYTE_ARRAY -> false;
        };
    return fits
        ? Optional.empty()
        : Optional.of(logical == null ? leaf.type().toString() : logical.toString());
  }

  /** Whether a column's labels are names. */
  static boolean areTexts(@Nullable SchemaNode column) {
    return column instanceof SchemaNode.PrimitiveNode leaf
        && leaf.type() == PhysicalType.BYTE_ARRAY;
  }

  private static boolean text(@Nullable LogicalType logical) {
    return logical == null
        || logical instanceof LogicalType.StringType
        || logical instanceof LogicalType.EnumType
        || logical instanceof LogicalType.NullType;
  }

  /**
   * Reads one cell.
   *
   * @param row where it goes
   * @param cell where it is in what the reader holds
   * @param names names a row in messages
   */
  void set(int row, ColumnReader reader, int cell, LongFunction<String> names) {
    if (reader.getLeafValidity().isNull(cell)) {
      values[row] = Examples.NO_LABEL;
      return;
    }
    Supplier<String> where = () -> names.apply(row);
    values[row] =
        switch (reader.getColumnSchema().type()) {
          case INT32 -> integer(reader.getInts()[cell], reader, where);
          case INT64 -> integer(reader.getLongs()[cell], reader, where);
          case FLOAT -> whole(reader.getFloats()[cell], where);
          case DOUBLE -> whole(reader.getDoubles()[cell], where);
          case BOOLEAN -> reader.getBooleans()[cell] ? 1 : 0;
          default -> number(text(reader, cell), where);
        };
  }

  private static long integer(long value, ColumnReader reader, Supplier<String> where) {
    boolean unsigned =
        reader.getColumnSchema().logicalType() instanceof LogicalType.IntType type
            && !type.isSigned();
    if (unsigned && reader.getColumnSchema().type() == PhysicalType.INT32) {
      return value & 0xFFFF_FFFFL;
    }
    if (unsigned && value < 0) {
      throw new InputException(
          "%s: the label is %s, which is no class"
              .formatted(where.get(), Long.toUnsignedString(value)));
    }
    return value;
  }

  private static long whole(double value, Supplier<String> where) {
    if (Double.isNaN(value)) {
      return Examples.NO_LABEL;
    }
    if (value != Math.rint(value) || Math.abs(value) > 1L << 53) {
      throw new InputException(
          "%s: the label is %s; classes are whole numbers, and scores or regression targets are no"
                  .formatted(where.get(), value)
              + " labels");
    }
    return (long) value;
  }

  static String text(ColumnReader reader, int cell) {
    int[] offsets = reader.getBinaryOffsets();
    return new String(
        reader.getBinaryValues(),
        offsets[cell],
        offsets[cell + 1] - offsets[cell],
        StandardCharsets.UTF_8);
  }

  private int number(String name, Supplier<String> where) {
    Integer known = numbers.putIfAbsent(name, numbers.size());
    if (numbers.size() > MOST_NAMES) {
      throw new InputException(
          "%s: the labels are more than %d different texts; that is no column of classes"
              .formatted(where.get(), MOST_NAMES));
    }
    return known == null ? numbers.size() - 1 : known;
  }

  /** The names that occur, in order; empty if labels are numbers. */
  List<String> names() {
    return numbers.keySet().stream().sorted().toList();
  }

  /** All labels, those that are texts by their place among the {@link #names}. */
  long[] values() {
    if (numbers.isEmpty()) {
      return values;
    }
    List<String> sorted = names();
    int[] places = new int[numbers.size()];
    numbers.forEach((name, number) -> places[number] = Collections.binarySearch(sorted, name));
    return Arrays.stream(values)
        .map(value -> value == Examples.NO_LABEL ? value : places[(int) value])
        .toArray();
  }
}
