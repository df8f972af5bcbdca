package org.fishermerge.data;

import java.nio.BufferUnderflowException;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.data.files.SplitFiles.Format;
import org.jspecify.annotations.Nullable;

/**
 * The rows of a split's tables, with a column of labels or without. Files are opened for each
 * reading and closed again; any number of threads may read, but for labels.
 */
abstract class TableRows {
  /** Takes what was read. */
  interface Cells {
    /**
     * Takes one row.
     *
     * @param position the row's place among those asked for
     * @param row to be used until the call returns
     */
    void take(int position, Row row);
  }

  /** The cells of a row, of the columns asked for. */
  interface Row {
    /** Bytes, or a text in UTF-8; null if the cell is. */
    byte @Nullable [] bytes(String column);

    /** The integers of a list; null if the cell or one of them is. */
    long @Nullable [] integers(String column);
  }

  private final String description;
  private final TableSchema schema;
  private final long size;
  private final long bytes;
  private @Nullable TableLabels labels;

  TableRows(String description, TableSchema schema, long size, long bytes) {
    this.description = description;
    this.schema = schema;
    this.size = size;
    this.bytes = bytes;
  }

  /**
   * Reads what files say of their columns and rows.
   *
   * @param names what columns are called
   * @param weighed the column whose {@link #bytes} are counted: itself, or its field {@code bytes}
   */
  static TableRows open(
      TableSource source, Columns names, String weighed, TableSchema.Check required) {
    return source.format() == Format.ARROW
        ? ArrowRows.open(source, names, weighed, required)
        : ParquetRows.open(source, names, weighed, required);
  }

  static boolean isOf(String weighed, String path) {
    return path.equals(weighed) || path.equals(weighed + ".bytes");
  }

  /** What the data is, as {@link TableSource} has it. */
  String description() {
    return description;
  }

  long size() {
    return size;
  }

  /** Of the column that was to be weighed, uncompressed. */
  long bytes() {
    return bytes;
  }

  boolean labelled() {
    return schema.labelColumn().isPresent();
  }

  /** The names in the files' metadata, or those that are the labels. */
  Optional<List<String>> classNames() {
    return schema.textLabels() ? Optional.of(readLabels().names()) : schema.classNames();
  }

  boolean labelsAreNames() {
    return schema.textLabels();
  }

  long[] labels() {
    return readLabels().values();
  }

  private TableLabels readLabels() {
    TableLabels known = labels;
    if (known != null) {
      return known;
    }
    String column =
        schema
            .labelColumn()
            .orElseThrow(() ->
                new InputException(
                    "%s: no column label, and this needs labelled examples; the columns are: %s; %s"
                        .formatted(
                            schema.first(), schema.columns(), Columns.advice(Columns.LABEL))));
    if (size > Integer.MAX_VALUE / 2) {
      throw new InputException(
          "%s: says that it has %d rows, more than labels are read of; take a part of the data"
              .formatted(schema.first(), size));
    }
    TableLabels all = new TableLabels(Math.toIntExact(size), this::where);
    readLabels(column, all);
    if (all.count() != size) {
      throw new InputException(
          "%s: %d labels for %d rows; a file is damaged"
              .formatted(schema.first(), all.count(), size));
    }
    labels = all;
    return all;
  }

  /** Adds the labels of all rows, in order. */
  abstract void readLabels(String column, TableLabels all);

  /** The file and the row in it. */
  abstract String where(long index);

  /**
   * Reads rows in stored order, whatever the order asked for.
   *
   * @param indices the rows
   * @param columns to read, by their paths with dots
   * @param step rows decoded at a time, where rows are decoded
   * @param cancelled asked now and then; when true the result is not needed any more
   */
  abstract void read(
      long[] indices, Set<String> columns, int step, BooleanSupplier cancelled, Cells cells);

  /**
   * The messages of an exception and its causes, which say more than the outermost. Lack of memory
   * is the file's doing: a reader allocates what a length in the file asks for before it compares
   * it with the bytes there are.
   */
  static String reason(Throwable e) {
    if (e instanceof OutOfMemoryError) {
      return "a length in it asks for more memory than there is";
    }
    StringBuilder text = new StringBuilder();
    for (Throwable t = e; t != null; t = t.getCause()) {
      String message = t.getMessage() == null || isSlip(t) ? "it is damaged" : Reasons.of(t);
      if (text.indexOf(message) < 0) {
        text.append(text.isEmpty() ? "" : ": ").append(message);
      }
    }
    return text.toString();
  }

  /** Whether a reader ran into what it had not thought of; the message is about its own code. */
  private static boolean isSlip(Throwable t) {
    return t instanceof NullPointerException
        || t instanceof ClassCastException
        || t instanceof IndexOutOfBoundsException
        || t instanceof NegativeArraySizeException
        || t instanceof ArithmeticException
        || t instanceof BufferUnderflowException;
  }
}
