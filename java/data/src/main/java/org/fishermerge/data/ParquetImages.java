package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.InputFile;
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
import java.lang.foreign.MemorySegment;
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
import org.jspecify.annotations.Nullable;

/**
 * Encoded pictures in Parquet files as Hugging Face data sets store them. Footers are read on
 * opening; of the data only the row groups and the columns that are needed.
 */
final class ParquetImages extends StoredImages {
  private static final String BYTES = "image.bytes";
  private static final String LABEL = "label";

  /** Encoded bytes held at a time: against reading files over and over for a shuffled selection. */
  private static final long WINDOW_BYTES = 128L << 20;

  /** Rows decoded from Parquet pages at a time. */
  private static final int ROWS_PER_STEP = 16;

  /** A row group of one of the files; {@code first} is the index of its first row overall. */
  private record Group(Path file, long rowInFile, long first, long rows, long midpoint) {}

  private final List<Group> groups;
  private final long[] firsts;
  private final long size;
  private final boolean labelled;
  private final String columns;
  private final long windowExamples;
  private final Path folder;
  private final String description;

  private ParquetImages(
      List<Group> groups,
      long size,
      boolean labelled,
      String columns,
      long bytes,
      Path folder,
      String description,
      ImageProcessor processor) {
    super(processor);
    this.groups = groups;
    this.firsts = groups.stream().mapToLong(Group::first).toArray();
    this.size = size;
    this.labelled = labelled;
    this.columns = columns;
    this.windowExamples = Math.max(1, WINDOW_BYTES / Math.max(1, bytes / size));
    this.folder = folder;
    this.description = description;
  }

  static ParquetImages open(List<Path> files, String description, ImageProcessor processor) {
    List<Group> groups = new ArrayList<>();
    long size = 0;
    long bytes = 0;
    int labelled = 0;
    String columns = "";
    for (Path file : files) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(InputFile.of(file), context)) {
        columns = requireImages(file, reader);
        labelled += hasLabels(file, reader) ? 1 : 0;
        FileMetaData footer = reader.getFileMetaData();
        long rowInFile = 0;
        for (RowGroup group : footer.rowGroups()) {
          if (group.numRows() > 0) {
            groups.add(new Group(file, rowInFile, size, group.numRows(), midpoint(group)));
          }
          rowInFile += group.numRows();
          size += group.numRows();
          for (ColumnChunk chunk : group.columns()) {
            if (chunk.metaData().pathInSchema().toString().equals(BYTES)) {
              bytes += chunk.metaData().totalUncompressedSize();
            }
          }
        }
      } catch (InputException e) {
        throw e;
      } catch (IOException | RuntimeException e) {
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
    return new ParquetImages(
        groups, size, labelled != 0, columns, bytes, first, description, processor);
  }

  /** Where hardwood takes a row group to lie when it is asked for a range of bytes. */
  private static long midpoint(RowGroup group) {
    long bytes = 0;
    for (ColumnChunk chunk : group.columns()) {
      bytes += chunk.metaData().totalCompressedSize();
    }
    return group.columns().getFirst().chunkStartOffset() + bytes / 2;
  }

  /** Names of the columns, for messages. */
  private static String requireImages(Path file, ParquetFileReader reader) {
    List<SchemaNode> fields = reader.getFileSchema().getRootNode().children();
    String names =
        NameList.of(fields.stream().map(SchemaNode::name).toList(), SafetensorsImages.NAMES_SHOWN);
    SchemaNode image = field(fields, "image");
    if (image == null) {
      throw new InputException("%s: no column image; the columns are: %s".formatted(file, names));
    }
    boolean encoded =
        image instanceof SchemaNode.GroupNode struct
            && struct.isStruct()
            && field(struct.children(), "bytes") instanceof SchemaNode.PrimitiveNode leaf
            && leaf.type() == PhysicalType.BYTE_ARRAY
            && leaf.maxRepetitionLevel() == 0;
    if (!encoded) {
      throw new InputException(
          file
              + ": column image is no struct with the encoded picture in a binary field bytes, as"
              + " Hugging Face data sets store it");
    }
    return names;
  }

  private static boolean hasLabels(Path file, ParquetFileReader reader) {
    SchemaNode label = field(reader.getFileSchema().getRootNode().children(), LABEL);
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

  private static @Nullable SchemaNode field(List<SchemaNode> fields, String name) {
    for (SchemaNode field : fields) {
      if (field.name().equals(name)) {
        return field;
      }
    }
    return null;
  }

  @Override
  public long size() {
    return size;
  }

  @Override
  public boolean labelled() {
    return labelled;
  }

  @Override
  public long[] labels() {
    if (!labelled) {
      throw new InputException(
          "%s: no column label, and this needs labelled examples; the columns are: %s"
              .formatted(folder, columns));
    }
    long[] labels = new long[Math.toIntExact(size)];
    int read = 0;
    for (Path file : new LinkedHashSet<>(groups.stream().map(Group::file).toList())) {
      read = readLabels(file, labels, read);
    }
    if (read != size) {
      throw new InputException(
          "%s: %d labels for %d rows; a file is damaged".formatted(folder, read, size));
    }
    return labels;
  }

  /** Reads the labels of a file into place; returns where those of the next file begin. */
  private int readLabels(Path file, long[] labels, int first) {
    int next = first;
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader = ParquetFileReader.open(InputFile.of(file), context);
        ColumnReaders readers =
            reader.buildColumnReaders(ColumnProjection.columns(LABEL)).build()) {
      ColumnReader label = readers.getColumnReader(LABEL);
      while (readers.nextBatch()) {
        for (int row = 0; row < readers.getRecordCount(); row++, next++) {
          labels[next] = labelAt(label, row, next);
        }
      }
    } catch (InputException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw new InputException("%s: cannot read the labels: %s".formatted(file, reason(e)), e);
    }
    return next;
  }

  /** The label at a row of what the reader holds, which is example {@code index}. */
  private long labelAt(ColumnReader label, int row, long index) {
    if (label.getLeafValidity().isNull(row)) {
      throw new InputException(where(index) + ": the label is null");
    }
    return label.getColumnSchema().type() == PhysicalType.INT64
        ? label.getLongs()[row]
        : label.getInts()[row];
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  long windowExamples() {
    return windowExamples;
  }

  @Override
  Window read(long[] indices, BooleanSupplier cancelled) {
    Integer[] order = new Integer[indices.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparingLong(i -> indices[i]));
    Encoded encoded = new Encoded(indices);
    int next = 0;
    while (next < order.length) {
      Group group = group(indices[order[next]]);
      int end = next;
      while (end < order.length && indices[order[end]] < group.first() + group.rows()) {
        end++;
      }
      readGroup(group, Arrays.copyOfRange(order, next, end), encoded, cancelled);
      next = end;
    }
    return encoded;
  }

  private Group group(long index) {
    int found = Arrays.binarySearch(firsts, index);
    return groups.get(found >= 0 ? found : -found - 2);
  }

  /** Reads the rows at some positions of the window, sorted by row. */
  private void readGroup(
      Group group, Integer[] positions, Encoded encoded, BooleanSupplier cancelled) {
    ColumnProjection projection =
        labelled ? ColumnProjection.columns(BYTES, LABEL) : ColumnProjection.columns(BYTES);
    try (HardwoodContext context = HardwoodContext.create(1);
        ParquetFileReader reader = ParquetFileReader.open(InputFile.of(group.file()), context);
        ColumnReaders readers =
            reader
                .buildColumnReaders(projection)
                .filter(RowGroupPredicate.byteRange(group.midpoint(), group.midpoint() + 1))
                .batchSize(ROWS_PER_STEP)
                .build()) {
      ColumnReader bytes = readers.getColumnReader(BYTES);
      ColumnReader label = labelled ? readers.getColumnReader(LABEL) : null;
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
          int position = positions[next];
          long at = encoded.indices[position] - row;
          if (at >= rows) {
            break;
          }
          encoded.set(position, bytes, label, (int) at);
        }
        row += rows;
      }
    } catch (InputException | CancellationException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw new InputException(
          "%s: cannot read rows %d to %d: %s"
              .formatted(
                  group.file(), group.rowInFile(), group.rowInFile() + group.rows() - 1, reason(e)),
          e);
    }
  }

  /** The messages of an exception and its causes, which say more than the outermost. */
  private static String reason(Throwable e) {
    StringBuilder text = new StringBuilder();
    for (Throwable t = e; t != null; t = t.getCause()) {
      String message = t.getMessage() == null ? t.getClass().getSimpleName() : t.getMessage();
      if (text.indexOf(message) < 0) {
        text.append(text.isEmpty() ? "" : ": ").append(message);
      }
    }
    return text.toString();
  }

  private String where(long index) {
    Group group = group(index);
    return group.file() + ", row " + (group.rowInFile() + index - group.first());
  }

  private final class Encoded implements Window {
    private final long[] indices;
    private final byte[] @Nullable [] pictures;
    private final long[] labels;

    Encoded(long[] indices) {
      this.indices = indices;
      this.pictures = new byte[indices.length][];
      this.labels = new long[indices.length];
    }

    void set(int position, ColumnReader bytes, @Nullable ColumnReader label, int row) {
      if (bytes.getLeafValidity().isNull(row)) {
        throw new InputException(
            where(indices[position])
                + ": no picture: image or its bytes are null (data sets that only hold paths are"
                + " not supported)");
      }
      int[] offsets = bytes.getBinaryOffsets();
      pictures[position] =
          Arrays.copyOfRange(bytes.getBinaryValues(), offsets[row], offsets[row + 1]);
      if (label != null) {
        labels[position] = labelAt(label, row, indices[position]);
      }
    }

    @Override
    public long label(int position) {
      return labels[position];
    }

    @Override
    public void decode(int position, MemorySegment out) {
      byte[] picture = pictures[position];
      if (picture == null) {
        throw new IllegalStateException("decoded before");
      }
      pictures[position] = null;
      try {
        processor.process(picture, out);
      } catch (IOException e) {
        throw new InputException(
            where(indices[position]) + ": cannot read the picture: " + e.getMessage(), e);
      }
    }
  }

  @Override
  public void close() {}
}
