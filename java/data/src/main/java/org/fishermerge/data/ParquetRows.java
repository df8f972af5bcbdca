package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.metadata.ColumnChunk;
import dev.hardwood.metadata.FileMetaData;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.reader.ColumnReaders;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/**
 * The rows of a split's Parquet files, with a column of labels or without. Footers are read on
 * opening; of the data only the row groups and the columns that are needed.
 */
final class ParquetRows {
  /** The second is what transformers calls them. */
  private static final List<String> LABEL_NAMES = List.of(Columns.LABEL, "labels");

  private static final int NAMES_SHOWN = 8;

  /** Looks at the columns of each file on opening. */
  interface Check {
    /**
     * Refuses a file without the columns that are needed.
     *
     * @param names of all columns, for messages
     */
    void require(Path file, List<SchemaNode> fields, String names);
  }

  /** Takes what was read. */
  interface Cells {
    /**
     * Takes one row.
     *
     * @param position the row's place among those asked for
     * @param readers of the columns asked for
     * @param at where the row is in what the readers hold
     */
    void take(int position, ColumnReaders readers, int at);
  }

  /** A row group of one of the files; {@code first} is the index of its first row overall. */
  private record Group(Path file, int index, long rowInFile, long first, long rows) {}

  private final List<Group> groups;
  private final long[] firsts;
  private final long size;
  private final @Nullable String labelColumn;
  private final boolean textLabels;
  private final Optional<List<String>> stated;
  private final String columns;
  private final long bytes;
  private final Path first;
  private @Nullable ParquetLabels labels;

  private ParquetRows(
      List<Group> groups,
      long size,
      @Nullable String labelColumn,
      boolean textLabels,
      Optional<List<String>> stated,
      String columns,
      long bytes,
      Path first) {
    this.groups = groups;
    this.firsts = groups.stream().mapToLong(Group::first).toArray();
    this.size = size;
    this.labelColumn = labelColumn;
    this.textLabels = textLabels;
    this.stated = stated;
    this.columns = columns;
    this.bytes = bytes;
    this.first = first;
  }

  /**
   * Reads the footers.
   *
   * @param names what columns are called
   * @param weighed the column whose {@link #bytes} are counted
   */
  static ParquetRows open(ParquetSource source, Columns names, String weighed, Check required) {
    List<Group> groups = new ArrayList<>();
    long size = 0;
    long bytes = 0;
    Set<Optional<String>> labelColumns = new LinkedHashSet<>();
    Set<Boolean> kinds = new LinkedHashSet<>();
    Set<Optional<List<String>>> stated = new LinkedHashSet<>();
    String columns = "";
    List<Path> files = source.files();
    for (Path file : files) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(ParquetInput.footer(file), context)) {
        List<SchemaNode> fields = reader.getFileSchema().getRootNode().children();
        columns = NameList.of(fields.stream().map(SchemaNode::name).toList(), NAMES_SHOWN);
        required.require(file, fields, columns);
        Optional<String> label = labelColumn(file, fields, names, columns);
        labelColumns.add(label);
        label.ifPresent(column -> kinds.add(ParquetLabels.areTexts(field(fields, column))));
        FileMetaData footer = reader.getFileMetaData();
        stated.add(
            label.flatMap(column -> DatasetFeatures.classNames(footer.keyValueMetadata(), column)));
        long rowInFile = 0;
        int index = -1;
        for (RowGroup group : footer.rowGroups()) {
          index++;
          if (group.numRows() > 0) {
            groups.add(new Group(file, index, rowInFile, size, group.numRows()));
          }
          rowInFile += group.numRows();
          size += group.numRows();
          for (ColumnChunk chunk : group.columns()) {
            if (chunk.metaData().pathInSchema().toString().equals(weighed)) {
              bytes += chunk.metaData().totalUncompressedSize();
            }
          }
        }
      } catch (InputException e) {
        throw e;
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        throw new InputException("%s: not readable as Parquet: %s".formatted(file, reason(e)), e);
      }
    }
    Path first = files.getFirst();
    if (size == 0) {
      throw new InputException(
          "%s: the data set has no rows (%d files)".formatted(first, files.size()));
    }
    if (labelColumns.size() > 1) {
      throw new InputException(
          "%s and %d more files: some have a column label, others have not"
              .formatted(first, files.size() - 1));
    }
    if (kinds.size() > 1) {
      throw new InputException(
          "%s and %d more files: labels are texts in some and numbers in others"
              .formatted(first, files.size() - 1));
    }
    if (stated.size() > 1) {
      throw new InputException(
          "%s and %d more files state different class names in their metadata: %s"
              .formatted(
                  first,
                  files.size() - 1,
                  String.join(
                      "; ",
                      stated.stream()
                          .map(of -> NameList.of(of.orElse(List.of()), NAMES_SHOWN))
                          .toList())));
    }
    return new ParquetRows(
        groups,
        size,
        labelColumns.iterator().next().orElse(null),
        kinds.contains(true),
        stated.iterator().next(),
        columns,
        bytes,
        first);
  }

  private static Optional<String> labelColumn(
      Path file, List<SchemaNode> fields, Columns names, String columns) {
    String given = names.given(Columns.LABEL).orElse(null);
    String name =
        given != null
            ? given
            : LABEL_NAMES.stream()
                .filter(usual -> field(fields, usual) != null)
                .findFirst()
                .orElse(null);
    if (name == null) {
      return Optional.empty();
    }
    SchemaNode label = field(fields, name);
    if (label == null) {
      throw new InputException(
          "%s: no column %s; the columns are: %s".formatted(file, name, columns));
    }
    ParquetLabels.refusal(label)
        .ifPresent(what -> {
          throw new InputException(
              "%s: column %s holds no class labels but %s; another one can be named with --columns"
                      .formatted(file, name, what)
                  + " label=NAME; the columns are: "
                  + columns);
        });
    return Optional.of(name);
  }

  /** The column of a name; null where there is none. */
  static @Nullable SchemaNode field(List<SchemaNode> fields, String name) {
    for (SchemaNode field : fields) {
      if (field.name().equals(name)) {
        return field;
      }
    }
    return null;
  }

  long size() {
    return size;
  }

  /** Of the column that was to be weighed, uncompressed. */
  long bytes() {
    return bytes;
  }

  boolean labelled() {
    return labelColumn != null;
  }

  /** The names in the files' metadata, or those that are the labels. */
  Optional<List<String>> classNames() {
    return textLabels ? Optional.of(read().names()) : stated;
  }

  boolean labelsAreNames() {
    return textLabels;
  }

  long[] labels() {
    return read().values();
  }

  private ParquetLabels read() {
    ParquetLabels known = labels;
    if (known != null) {
      return known;
    }
    String column = labelColumn;
    if (column == null) {
      throw new InputException(
          "%s: no column label, and this needs labelled examples; the columns are: %s; %s"
              .formatted(first, columns, Columns.advice(Columns.LABEL)));
    }
    ParquetLabels all = new ParquetLabels(Math.toIntExact(size));
    int read = 0;
    for (Path file : new LinkedHashSet<>(groups.stream().map(Group::file).toList())) {
      read = readLabels(file, column, all, read);
    }
    if (read != size) {
      throw new InputException(
          "%s: %d labels for %d rows; a file is damaged".formatted(first, read, size));
    }
    labels = all;
    return all;
  }

  /** Reads the labels of a file into place; returns where those of the next file begin. */
  private int readLabels(Path file, String column, ParquetLabels all, int from) {
    int next = from;
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader =
            ParquetFileReader.open(ParquetInput.columns(file, Set.of(column)), context);
        ColumnReaders readers =
            reader.buildColumnReaders(ColumnProjection.columns(column)).build()) {
      while (readers.nextBatch()) {
        ColumnReader cells = readers.getColumnReader(column);
        for (int row = 0; row < readers.getRecordCount(); row++, next++) {
          all.set(next, cells, row, this::where);
        }
      }
    } catch (InputException e) {
      throw e;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new InputException("%s: cannot read the labels: %s".formatted(file, reason(e)), e);
    }
    return next;
  }

  /** The file and the row in it. */
  String where(long index) {
    Group group = group(index);
    return group.file() + ", row " + (group.rowInFile() + index - group.first());
  }

  private Group group(long index) {
    int found = Arrays.binarySearch(firsts, index);
    return groups.get(found >= 0 ? found : -found - 2);
  }

  /**
   * Reads rows in stored order, whatever the order asked for.
   *
   * @param indices the rows
   * @param columns to read, by their paths with dots
   * @param step rows decoded from pages at a time
   * @param cancelled asked now and then; when true the result is not needed any more
   */
  void read(long[] indices, Set<String> columns, int step, BooleanSupplier cancelled, Cells cells) {
    Integer[] order = new Integer[indices.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparingLong(i -> indices[i]));
    int next = 0;
    while (next < order.length) {
      Group group = group(indices[order[next]]);
      int end = next;
      while (end < order.length && indices[order[end]] < group.first() + group.rows()) {
        end++;
      }
      int[] positions = Arrays.stream(order, next, end).mapToInt(Integer::intValue).toArray();
      read(group, indices, positions, columns, step, cancelled, cells);
      next = end;
    }
  }

  /** Reads rows of one group at some positions of {@code indices}, sorted by row. */
  private static void read(
      Group group,
      long[] indices,
      int[] positions,
      Set<String> columns,
      int step,
      BooleanSupplier cancelled,
      Cells cells) {
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader =
            ParquetFileReader.open(
                ParquetInput.columns(group.file(), columns, group.index()), context);
        ColumnReaders readers =
            reader
                .buildColumnReaders(ColumnProjection.columns(columns.toArray(String[]::new)))
                .batchSize(step)
                .build()) {
      long row = group.first();
      int next = 0;
      while (next < positions.length) {
        if (cancelled.getAsBoolean()) {
          throw new CancellationException();
        }
        if (!readers.nextBatch()) {
          throw new IOException("row group with fewer rows than its footer says");
        }
        int rows = readers.getRecordCount();
        for (; next < positions.length; next++) {
          long at = indices[positions[next]] - row;
          if (at >= rows) {
            break;
          }
          cells.take(positions[next], readers, (int) at);
        }
        row += rows;
      }
    } catch (InputException | CancellationException e) {
      throw e;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new InputException(
          "%s: cannot read rows %d to %d: %s"
              .formatted(
                  group.file(), group.rowInFile(), group.rowInFile() + group.rows() - 1, reason(e)),
          e);
    }
  }

  /**
   * The messages of an exception and its causes, which say more than the outermost. Lack of memory
   * is the file's doing: hardwood allocates what a length in the file asks for before it compares
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

  /** Whether hardwood ran into what it had not thought of; the message is about its own code. */
  private static boolean isSlip(Throwable t) {
    return t instanceof NullPointerException
        || t instanceof ClassCastException
        || t instanceof IndexOutOfBoundsException
        || t instanceof NegativeArraySizeException
        || t instanceof ArithmeticException
        || t instanceof BufferUnderflowException;
  }
}
