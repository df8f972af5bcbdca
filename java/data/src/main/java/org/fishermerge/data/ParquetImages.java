package org.fishermerge.data;

import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.reader.ColumnReaders;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/** Encoded pictures in Parquet files as Hugging Face data sets store them. */
final class ParquetImages extends StoredImages {
  private static final String BYTES = "image.bytes";

  /** Encoded bytes held at a time: against reading files over and over for a shuffled selection. */
  private static final long WINDOW_BYTES = 128L << 20;

  /** Rows decoded from Parquet pages at a time. */
  private static final int ROWS_PER_STEP = 16;

  private final ParquetRows rows;
  private final long windowExamples;
  private final String description;

  private ParquetImages(ParquetRows rows, String description, ImageProcessor processor) {
    super(processor);
    this.rows = rows;
    this.windowExamples = Math.max(1, WINDOW_BYTES / Math.max(1, rows.bytes() / rows.size()));
    this.description = description;
  }

  static ParquetImages open(ParquetSource source, ImageProcessor processor) {
    return new ParquetImages(
        ParquetRows.open(source, BYTES, ParquetImages::requireImages),
        source.description(),
        processor);
  }

  private static void requireImages(Path file, List<SchemaNode> fields, String names) {
    SchemaNode image = ParquetRows.field(fields, "image");
    if (image == null) {
      throw new InputException("%s: no column image; the columns are: %s".formatted(file, names));
    }
    boolean encoded =
        image instanceof SchemaNode.GroupNode struct
            && struct.isStruct()
            && ParquetRows.field(struct.children(), "bytes")
                instanceof SchemaNode.PrimitiveNode leaf
            && leaf.type() == PhysicalType.BYTE_ARRAY
            && leaf.maxRepetitionLevel() == 0;
    if (!encoded) {
      throw new InputException(
          file
              + ": column image is no struct with the encoded picture in a binary field bytes, as"
              + " Hugging Face data sets store it");
    }
  }

  @Override
  public long size() {
    return rows.size();
  }

  @Override
  public boolean labelled() {
    return rows.labelled();
  }

  @Override
  public long[] labels() {
    return rows.labels();
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
    Encoded encoded = new Encoded(indices);
    ColumnProjection projection =
        rows.labelled()
            ? ColumnProjection.columns(BYTES, ParquetRows.LABEL)
            : ColumnProjection.columns(BYTES);
    rows.read(indices, projection, ROWS_PER_STEP, cancelled, encoded::set);
    return encoded;
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

    void set(int position, ColumnReaders readers, int row) {
      ColumnReader bytes = readers.getColumnReader(BYTES);
      if (bytes.getLeafValidity().isNull(row)) {
        throw new InputException(
            rows.where(indices[position])
                + ": no picture: image or its bytes are null (data sets that only hold paths are"
                + " not supported)");
      }
      int[] offsets = bytes.getBinaryOffsets();
      pictures[position] =
          Arrays.copyOfRange(bytes.getBinaryValues(), offsets[row], offsets[row + 1]);
      if (rows.labelled()) {
        labels[position] = rows.label(readers, row, indices[position]);
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
            rows.where(indices[position]) + ": cannot read the picture: " + e.getMessage(), e);
      }
    }
  }

  @Override
  public void close() {}
}
