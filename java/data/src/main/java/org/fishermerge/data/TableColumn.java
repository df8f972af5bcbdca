package org.fishermerge.data;

import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A column of a table, or a field of one, whatever file it is in.
 *
 * @param type how messages name what it holds
 * @param fields of a struct
 */
record TableColumn(String name, Kind kind, String type, List<TableColumn> fields) {
  /** What its cells hold. */
  enum Kind {
    /** Bytes that nothing is said of. */
    BYTES,
    TEXT,
    INTEGER,
    REAL,
    BOOLEAN,
    /** Lists of integers. */
    INTEGERS,
    STRUCT,
    /** What is not read. */
    OTHER
  }

  TableColumn {
    fields = List.copyOf(fields);
  }

  /** One without fields. */
  TableColumn(String name, Kind kind, String type) {
    this(name, kind, type, List.of());
  }

  /** The column of a name; null where there is none. */
  static @Nullable TableColumn named(List<TableColumn> columns, String name) {
    for (TableColumn column : columns) {
      if (column.name.equals(name)) {
        return column;
      }
    }
    return null;
  }

  /** Whether there is a column of that name and kind. */
  static boolean is(List<TableColumn> columns, String name, Kind kind) {
    TableColumn column = named(columns, name);
    return column != null && column.kind == kind;
  }

  /** What it holds that is no label; empty if it may hold labels. */
  Optional<String> notLabels() {
    return switch (kind) {
      case BYTES, TEXT, INTEGER, REAL, BOOLEAN -> Optional.empty();
      case INTEGERS, STRUCT -> Optional.of("lists or structs");
      case OTHER -> Optional.of(type);
    };
  }

  /** Whether its cells are texts, as labels or sentences are. */
  boolean holdsTexts() {
    return kind == Kind.TEXT || kind == Kind.BYTES;
  }
}
