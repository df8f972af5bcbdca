package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.metadata.ColumnChunk;
import dev.hardwood.metadata.FileMetaData;
import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.reader.ColumnReaders;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.reader.RowGroupPredicate;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/**
 * The rows of a split's Parquet files, with an integer column {@code label} or without. Footers are
 * read on opening; of the data only the row groups and the columns that are needed.
 */
final class ParquetRows {
  static final String LABEL = "label";

  /** Looks at the columns of each file on opening. */
  interface Columns {
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
  private record Group(Path file, long rowInFile, long first, long rows, long midpoint) {}

  private final List<Group> groups;
  private final long[] firsts;
  private final long size;
  private final boolean labelled;
  private final String columns;
  private final long bytes;
  private final Path first;

  private ParquetRows(
      List<Group> groups, long size, boolean labelled, String columns, long bytes, Path first) {
    this.groups = groups;
    this.firsts = groups.stream().mapToLong(Group::first).toArray();
    this.size = size;
    this.labelled = labelled;
    this.columns = columns;
    this.bytes = bytes;
    this.first = first;
  }

  /**
   * Reads the footers.
   *
   * @param weighed the column whose {@link #bytes} are counted
   */
  static ParquetRows open(ParquetSource source, String weighed, Columns required) {
    List<Group> groups = new ArrayList<>();
    long size = 0;
    long bytes = 0;
    int labelled = 0;
    String columns = "";
    List<Path> files = source.files();
    for (Path file : files) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(new ParquetInput(file), context)) {
        List<SchemaNode> fields = reader.getFileSchema().getRootNode().children();
        columns =
            NameList.of(
                fields.stream().map(SchemaNode::name).toList(), SafetensorsImages.NAMES_SHOWN);
        required.require(file, fields, columns);
        labelled += hasLabels(file, fields) ? 1 : 0;
        FileMetaData footer = reader.getFileMetaData();
        long rowInFile = 0;
        for (RowGroup group : footer.rowGroups()) {
          if (group.numRows() > 0) {
            groups.add(new Group(file, rowInFile, size, group.numRows(), midpoint(group)));
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
    if (labelled != 0 && labelled != files.size()) {
      throw new InputException(
          "%s and %d more files: some have a column label, others have not"
              .formatted(first, files.size() - 1));
    }
    return new ParquetRows(groups, size, labelled != 0, columns, bytes, first);
  }

  /** Where hardwood takes a row group to lie when it is asked for a range of bytes. */
  private static long midpoint(RowGroup group) {
    long bytes = 0;
    for (ColumnChunk chunk : group.columns()) {
      bytes += chunk.metaData().totalCompressedSize();
    }
    return group.columns().getFirst().chunkStartOffset() + bytes / 2;
  }

  private static boolean hasLabels(Path file, List<SchemaNode> fields) {
    SchemaNode label = field(fields, LABEL);
    if (label == null) {
      return false;
    }
    if (label instanceof SchemaNode.PrimitiveNode leaf
        && leaf.maxRepetitionLevel() == 0
        && (leaf.type() == PhysicalType.INT64 || leaf.type() == PhysicalType.INT32)) {
      return true;
    }
    throw new InputException(
        "%s: column label is not an integer column but %s"
            .formatted(
                file,
                label instanceof SchemaNode.PrimitiveNode leaf ? leaf.type() : "a nested one"));
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
    return labelled;
  }

  long[] labels() {
    if (!labelled) {
      throw new InputException(
          "%s: no column label, and this needs labelled examples; the columns are: %s"
              .formatted(first, columns));
    }
    long[] labels = new long[Math.toIntExact(size)];
    int read = 0;
    for (Path file : new LinkedHashSet<>(groups.stream().map(Group::file).toList())) {
      read = readLabels(file, labels, read);
    }
    if (read != size) {
      throw new InputException(
          "%s: %d labels for %d rows; a file is damaged".formatted(first, read, size));
    }
    return labels;
  }

  /** Reads the labels of a file into place; returns where those of the next file begin. */
  private int readLabels(Path file, long[] labels, int from) {
    int next = from;
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader = ParquetFileReader.open(new ParquetInput(file), context);
        ColumnReaders readers =
            reader.buildColumnReaders(ColumnProjection.columns(LABEL)).build()) {
      while (readers.nextBatch()) {
        for (int row = 0; row < readers.getRecordCount(); row++, next++) {
          labels[next] = label(readers, row, next);
        }
      }
    } catch (InputException e) {
      throw e;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new InputException("%s: cannot read the labels: %s".formatted(file, reason(e)), e);
    }
    return next;
  }

  /** The label at a row of what the readers hold, which is example {@code index}. */
  long label(ColumnReaders readers, int row, long index) {
    ColumnReader label = readers.getColumnReader(LABEL);
    if (label.getLeafValidity().isNull(row)) {
      throw new InputException(where(index) + ": the label is null");
    }
    return label.getColumnSchema().type() == PhysicalType.INT64
        ? label.getLongs()[row]
        : label.getInts()[row];
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
   * @param projection the columns to read
   * @param step rows decoded from pages at a time
   * @param cancelled asked now and then; when true the result is not needed any more
   */
  void read(
      long[] indices,
      ColumnProjection projection,
      int step,
      BooleanSupplier cancelled,
      Cells cells) {
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
      read(group, indices, positions, projection, step, cancelled, cells);
      next = end;
    }
  }

  /** Reads rows of one group at some positions of {@code indices}, sorted by row. */
  private static void read(
      Group group,
      long[] indices,
      int[] positions,
      ColumnProjection projection,
      int step,
      BooleanSupplier cancelled,
      Cells cells) {
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader = ParquetFileReader.open(new ParquetInput(group.file()), context);
        ColumnReaders readers =
            reader
                .buildColumnReaders(projection)
                .filter(RowGroupPredicate.byteRange(group.midpoint(), group.midpoint() + 1))
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
  private static String reason(Throwable e) {
    if (e instanceof OutOfMemoryError) {
      return "a length in it asks for more memory than there is";
    }
    StringBuilder text = new StringBuilder();
    for (Throwable t = e; t != null; t = t.getCause()) {
      String message = Reasons.of(t);
      if (text.indexOf(message) < 0) {
        text.append(text.isEmpty() ? "" : ": ").append(message);
      }
    }
    return text.toString();
  }
}
