package org.fishermerge.data;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/** Encoded pictures in tables as Hugging Face data sets store them. */
final class TableImages extends StoredImages implements TableExamples {
  /** Encoded bytes held at a time: against reading files over and over for a shuffled selection. */
  private static final long WINDOW_BYTES = 128L << 20;

  /** Rows decoded at a time, where they are compressed. */
  private static final int ROWS_PER_STEP = 16;

  private final TableRows rows;
  private final String bytes;
  private final long windowExamples;

  private TableImages(TableRows rows, String bytes, ImageProcessor processor) {
    super(processor);
    this.rows = rows;
    this.bytes = bytes;
    this.windowExamples = Math.max(1, WINDOW_BYTES / Math.max(1, rows.bytes() / rows.size()));
  }

  static TableImages open(TableSource source, Columns columns, ImageProcessor processor) {
    Pictures pictures = new Pictures(columns.of(Columns.IMAGE));
    TableRows rows = TableRows.open(source, columns, pictures.name, pictures);
    return new TableImages(rows, pictures.path, processor);
  }

  /** The column of the pictures, stored the same way in all files. */
  private static final class Pictures implements TableSchema.Check {
    private final String name;
    private String path = "";

    Pictures(String name) {
      this.name = name;
    }

    @Override
    public void require(Path file, List<TableColumn> fields, String names) {
      TableColumn image = TableColumn.named(fields, name);
      if (image == null) {
        throw new InputException(
            "%s: no column %s; the columns are: %s; %s"
                .formatted(file, name, names, Columns.advice(Columns.IMAGE)));
      }
      String found;
      if (image.kind() == TableColumn.Kind.BYTES) {
        found = name;
      } else if (TableColumn.is(image.fields(), "bytes", TableColumn.Kind.BYTES)) {
        found = name + ".bytes";
      } else {
        throw new InputException(
            "%s: column %s holds no encoded pictures: it is neither binary nor a struct with a"
                    .formatted(file, name)
                + " binary field bytes, as Hugging Face data sets store them; the columns are: "
                + names);
      }
      if (!path.isEmpty() && !path.equals(found)) {
        throw new InputException(
            "%s: pictures are in %s, in the files before in %s".formatted(file, found, path));
      }
      path = found;
    }
  }

  @Override
  public TableRows rows() {
    return rows;
  }

  @Override
  long windowExamples() {
    return windowExamples;
  }

  @Override
  Window read(long[] indices, BooleanSupplier cancelled) {
    Encoded encoded = new Encoded(indices);
    rows.read(indices, Set.of(bytes), ROWS_PER_STEP, cancelled, encoded::set);
    return encoded;
  }

  private final class Encoded implements Window {
    private final long[] indices;
    private final byte[] @Nullable [] pictures;

    Encoded(long[] indices) {
      this.indices = indices;
      this.pictures = new byte[indices.length][];
    }

    void set(int position, TableRows.Row row) {
      pictures[position] = row.bytes(bytes);
    }

    @Override
    public void decode(int position, MemorySegment out) {
      byte[] picture = pictures[position];
      long row = indices[position];
      if (picture == null) {
        throw new BadRowException(
            row,
            where(row),
            "no picture: the cell or its bytes are null (data sets that only hold paths are not"
                + " supported)");
      }
      pictures[position] = null;
      try {
        processor.process(picture, out);
      } catch (IOException e) {
        throw new BadRowException(row, where(row), "cannot read the picture: " + e.getMessage(), e);
      }
    }
  }

  @Override
  public void close() {}
}
