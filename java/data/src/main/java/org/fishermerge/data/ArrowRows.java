package org.fishermerge.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SavedDataset;
import org.jspecify.annotations.Nullable;

/**
 * The rows of Arrow files, those that {@code save_to_disk} of {@code datasets} wrote among them: of
 * these, {@code state.json} may leave columns out, and {@code dataset_info.json} knows the names of
 * classes.
 */
final class ArrowRows extends TableRows {
  /** A batch of rows of one of the files. */
  private record Group(ArrowFile file, ArrowFile.Batch batch, long rowInFile, long first)
      implements RowGroups.Group {
    @Override
    public Path path() {
      return file.path();
    }

    @Override
    public long rows() {
      return batch.rows();
    }
  }

  private final RowGroups<Group> groups;

  private ArrowRows(
      String description, TableSchema schema, List<Group> groups, long size, long bytes) {
    super(description, schema, size, bytes);
    this.groups = new RowGroups<>(groups);
  }

  /**
   * What stands before a split's files among the files of a source, where {@code save_to_disk}
   * wrote them.
   */
  private record Beside(@Nullable SavedDataset state, @Nullable JsonNode features) {
    static final Beside NOTHING = new Beside(null, null);

    /** What stands before the files after one that is no table. */
    Beside then(Path file) {
      return named(file, SavedDataset.STATE)
          ? new Beside(SavedDataset.read(file), null)
          : new Beside(state, Json.object(file).path("features"));
    }

    /** The columns that are not left out. */
    List<TableColumn> seen(List<TableColumn> columns) {
      return state == null
          ? columns
          : columns.stream().filter(column -> state.shows(column.name())).toList();
    }

    Optional<List<String>> classNames(ArrowFile file, String column) {
      return features != null && !features.isNull() && !features.isMissingNode()
          ? DatasetFeatures.classNames(features, column)
          : DatasetFeatures.classNames(file.metadata(), column);
    }
  }

  private static boolean named(Path file, String name) {
    return Objects.toString(file.getFileName(), "").equals(name);
  }

  private static boolean isTable(Path file) {
    return !named(file, SavedDataset.STATE) && !named(file, SavedDataset.INFO);
  }

  private static List<Path> tables(List<Path> files) {
    return files.stream().filter(ArrowRows::isTable).toList();
  }

  private static ArrowFile file(Path path) {
    try {
      return ArrowFile.open(path);
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new InputException("%s: not readable as Arrow: %s".formatted(path, reason(e)), e);
    }
  }

  /** The number of rows of all files. */
  static long count(List<Path> files) {
    return tables(files).stream().mapToLong(path -> file(path).rows()).sum();
  }

  /** The columns of the first file that are not left out. */
  static List<TableColumn> columns(List<Path> files) {
    Beside beside = Beside.NOTHING;
    for (Path path : files) {
      if (isTable(path)) {
        return beside.seen(file(path).shown());
      }
      beside = beside.then(path);
    }
    throw new IllegalArgumentException("no tables");
  }

  /** Reads the descriptions of all batches; as {@link TableRows#open}. */
  static ArrowRows open(
      TableSource source, Columns names, String weighed, TableSchema.Check required) {
    TableSchema schema =
        new TableSchema(tables(source.files()), source.classNames(), names, required);
    List<Group> groups = new ArrayList<>();
    long size = 0;
    long bytes = 0;
    Beside last = Beside.NOTHING;
    for (Path path : source.files()) {
      if (!isTable(path)) {
        last = last.then(path);
        continue;
      }
      Beside beside = last;
      ArrowFile file = file(path);
      List<TableColumn> seen = beside.seen(file.shown());
      List<String> hidden =
          file.shown().stream()
              .filter(column -> !seen.contains(column))
              .map(TableColumn::name)
              .toList();
      schema.add(
          path,
          seen,
          hidden.isEmpty()
              ? ""
              : " (_format_columns in %s leaves out %s)"
                  .formatted(SavedDataset.STATE, String.join(", ", hidden)),
          column -> beside.classNames(file, column));
      long rowInFile = 0;
      for (ArrowFile.Batch batch : file.batches()) {
        groups.add(new Group(file, batch, rowInFile, size));
        rowInFile += batch.rows();
        size += batch.rows();
        bytes += weight(file, batch, weighed);
      }
    }
    schema.requireAlike(size);
    return new ArrowRows(source.description(), schema, groups, size, bytes);
  }

  private static long weight(ArrowFile file, ArrowFile.Batch batch, String weighed) {
    long bytes = 0;
    for (ArrowFile.Column column : file.columns()) {
      if (isOf(weighed, column.name())) {
        bytes += batch.bytes(column);
      }
    }
    return bytes;
  }

  @Override
  void readLabels(String column, TableLabels all) {
    for (Group group : groups.all()) {
      try (ArrowFile.Reader reader = new ArrowFile.Reader(group.file, group.batch)) {
        ArrowFile.Column labels = group.file.way(column).getLast();
        for (long row = 0; row < group.batch.rows(); row++) {
          addLabel(reader, labels, row, all);
        }
      } catch (InputException e) {
        throw e;
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        throw new InputException(
            "%s: cannot read the labels: %s".formatted(group.file.path(), reason(e)), e);
      }
    }
  }

  private static void addLabel(
      ArrowFile.Reader reader, ArrowFile.Column column, long row, TableLabels all)
      throws IOException {
    if (reader.isNull(column, row)) {
      all.addNone();
      return;
    }
    switch (column.shown().kind()) {
      case INTEGER -> {
        long value = reader.integer(column, row);
        if (column.signed()) {
          all.add(value);
        } else {
          all.addUnsigned(value);
        }
      }
      case REAL -> all.add(reader.real(column, row));
      case BOOLEAN -> all.add(reader.isTrue(column, row) ? 1L : 0L);
      default -> all.add(new String(reader.bytes(column, row), StandardCharsets.UTF_8));
    }
  }

  @Override
  String where(long index) {
    return groups.where(index);
  }

  @Override
  void read(long[] indices, Set<String> columns, int step, BooleanSupplier cancelled, Cells cells) {
    groups.read(
        indices, (group, positions) -> read(group, indices, positions, columns, cancelled, cells));
  }

  private static void read(
      Group group,
      long[] indices,
      int[] positions,
      Set<String> columns,
      BooleanSupplier cancelled,
      Cells cells) {
    int next = 0;
    try (ArrowFile.Reader reader = new ArrowFile.Reader(group.file, group.batch)) {
      Map<String, List<ArrowFile.Column>> ways = new LinkedHashMap<>();
      columns.forEach(column -> ways.put(column, group.file.way(column)));
      for (; next < positions.length; next++) {
        if (cancelled.getAsBoolean()) {
          throw new CancellationException();
        }
        long row = indices[positions[next]] - group.first;
        cells.take(positions[next], new Stored(reader, ways, row));
      }
    } catch (InputException | CancellationException e) {
      throw e;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      int failed = Math.min(next, positions.length - 1);
      long row = group.rowInFile + indices[positions[failed]] - group.first;
      throw new InputException(
          "%s: cannot read row %d: %s".formatted(group.path(), row, reason(e)), e);
    }
  }

  /** A row of a batch. */
  private record Stored(
      ArrowFile.Reader reader, Map<String, List<ArrowFile.Column>> ways, long cell) implements Row {
    private List<ArrowFile.Column> way(String column) {
      return Objects.requireNonNull(ways.get(column), column);
    }

    private boolean isNull(String column) throws IOException {
      for (ArrowFile.Column on : way(column)) {
        if (reader.isNull(on, cell)) {
          return true;
        }
      }
      return false;
    }

    @Override
    public byte @Nullable [] bytes(String column) {
      try {
        return isNull(column) ? null : reader.bytes(way(column).getLast(), cell);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public long @Nullable [] integers(String column) {
      try {
        return isNull(column) ? null : reader.integers(way(column).getLast(), cell);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
