package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.metadata.ColumnChunk;
import dev.hardwood.metadata.FileMetaData;
import dev.hardwood.metadata.LogicalType;
import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.reader.ColumnReaders;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The rows of Parquet files. Footers are read on opening; of the data only the row groups and the
 * columns that are needed.
 */
final class ParquetRows extends TableRows {
  private static final String NESTED = "lists or structs";

  /** A row group of one of the files; {@code first} is the index of its first row overall. */
  private record Group(Path path, int index, long rowInFile, long first, long rows)
      implements RowGroups.Group {}

  private final RowGroups<Group> groups;

  private ParquetRows(
      String description, TableSchema schema, List<Group> groups, long size, long bytes) {
    super(description, schema, size, bytes);
    this.groups = new RowGroups<>(groups);
  }

  /** Reads the footers; as {@link TableRows#open}. */
  static ParquetRows open(
      TableSource source, Columns names, String weighed, TableSchema.Check required) {
    List<Group> groups = new ArrayList<>();
    long size = 0;
    long bytes = 0;
    TableSchema schema = new TableSchema(source.files(), source.classNames(), names, required);
    for (Path file : source.files()) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(ParquetInput.footer(file), context)) {
        FileMetaData footer = reader.getFileMetaData();
        schema.add(
            file,
            reader.getFileSchema().getRootNode().children().stream()
                .map(ParquetRows::column)
                .toList(),
            "",
            column -> DatasetFeatures.classNames(footer.keyValueMetadata(), column));
        long rowInFile = 0;
        int index = -1;
        for (RowGroup group : footer.rowGroups()) {
          index++;
          if (group.numRows() < 0) {
            throw new InputException(
                "%s: says that it has %d rows; it is damaged".formatted(file, group.numRows()));
          }
          if (group.numRows() > 0) {
            groups.add(new Group(file, index, rowInFile, size, group.numRows()));
          }
          rowInFile += group.numRows();
          size += group.numRows();
          for (ColumnChunk chunk : group.columns()) {
            if (isOf(weighed, chunk.metaData().pathInSchema().toString())) {
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
    schema.requireAlike(size);
    return new ParquetRows(source.description(), schema, groups, size, bytes);
  }

  private static TableColumn column(SchemaNode node) {
    if (node instanceof SchemaNode.GroupNode struct && struct.isStruct()) {
      return new TableColumn(
          node.name(),
          TableColumn.Kind.STRUCT,
          NESTED,
          struct.children().stream().map(ParquetRows::column).toList());
    }
    if (!(node instanceof SchemaNode.PrimitiveNode leaf) || leaf.maxRepetitionLevel() != 0) {
      return new TableColumn(node.name(), TableColumn.Kind.OTHER, NESTED);
    }
    LogicalType logical = leaf.logicalType();
    TableColumn.Kind kind =
        switch (leaf.type()) {
          case INT32, INT64 ->
              logical == null
                      || logical instanceof LogicalType.IntType
                      || logical instanceof LogicalType.NullType
                  ? TableColumn.Kind.INTEGER
                  : TableColumn.Kind.OTHER;
          case FLOAT, DOUBLE -> TableColumn.Kind.REAL;
          case BOOLEAN -> TableColumn.Kind.BOOLEAN;
          case BYTE_ARRAY ->
              logical == null
                  ? TableColumn.Kind.BYTES
                  : logical instanceof LogicalType.StringType
                          || logical instanceof LogicalType.EnumType
                          || logical instanceof LogicalType.NullType
                      ? TableColumn.Kind.TEXT
                      : TableColumn.Kind.OTHER;
          case INT96, FIXED_LEN_BYTE_ARRAY -> TableColumn.Kind.OTHER;
        };
    return new TableColumn(
        node.name(), kind, logical == null ? leaf.type().toString() : logical.toString());
  }

  @Override
  void readLabels(String column, TableLabels all) {
    for (Path file : new LinkedHashSet<>(groups.all().stream().map(Group::path).toList())) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader =
              ParquetFileReader.open(ParquetInput.columns(file, Set.of(column)), context);
          ColumnReaders readers =
              reader.buildColumnReaders(ColumnProjection.columns(column)).build()) {
        while (readers.nextBatch()) {
          ColumnReader cells = readers.getColumnReader(column);
          for (int row = 0; row < readers.getRecordCount(); row++) {
            addLabel(cells, row, all);
          }
        }
      } catch (InputException e) {
        throw e;
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        throw new InputException("%s: cannot read the labels: %s".formatted(file, reason(e)), e);
      }
    }
  }

  private static void addLabel(ColumnReader reader, int cell, TableLabels all) {
    if (reader.getLeafValidity().isNull(cell)) {
      all.addNone();
      return;
    }
    switch (reader.getColumnSchema().type()) {
      case INT32 -> addInteger(reader.getInts()[cell], reader, all);
      case INT64 -> addInteger(reader.getLongs()[cell], reader, all);
      case FLOAT -> all.add((double) reader.getFloats()[cell]);
      case DOUBLE -> all.add(reader.getDoubles()[cell]);
      case BOOLEAN -> all.add(reader.getBooleans()[cell] ? 1L : 0L);
      default -> all.add(new String(bytes(reader, cell), StandardCharsets.UTF_8));
    }
  }

  private static void addInteger(long value, ColumnReader reader, TableLabels all) {
    boolean unsigned =
        reader.getColumnSchema().logicalType() instanceof LogicalType.IntType type
            && !type.isSigned();
    if (unsigned && reader.getColumnSchema().type() == PhysicalType.INT32) {
      all.add(value & 0xFFFF_FFFFL);
    } else if (unsigned) {
      all.addUnsigned(value);
    } else {
      all.add(value);
    }
  }

  private static byte[] bytes(ColumnReader reader, int cell) {
    int[] offsets = reader.getBinaryOffsets();
    return Arrays.copyOfRange(reader.getBinaryValues(), offsets[cell], offsets[cell + 1]);
  }

  @Override
  String where(long index) {
    return groups.where(index);
  }

  @Override
  void read(long[] indices, Set<String> columns, int step, BooleanSupplier cancelled, Cells cells) {
    groups.read(
        indices,
        (group, positions) -> read(group, indices, positions, columns, step, cancelled, cells));
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
                ParquetInput.columns(group.path(), columns, group.index()), context);
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
          cells.take(positions[next], new Decoded(readers, (int) at));
        }
        row += rows;
      }
    } catch (InputException | CancellationException e) {
      throw e;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new InputException(
          "%s: cannot read rows %d to %d: %s"
              .formatted(
                  group.path(), group.rowInFile(), group.rowInFile() + group.rows() - 1, reason(e)),
          e);
    }
  }

  /** A row among those that readers hold. */
  private record Decoded(ColumnReaders readers, int at) implements Row {
    @Override
    public byte @Nullable [] bytes(String column) {
      ColumnReader reader = readers.getColumnReader(column);
      return reader.getLeafValidity().isNull(at) ? null : ParquetRows.bytes(reader, at);
    }

    @Override
    public long @Nullable [] integers(String column) {
      throw new IllegalStateException("lists are not read: " + column);
    }
  }
}
