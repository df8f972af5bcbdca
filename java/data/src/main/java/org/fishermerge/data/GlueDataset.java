package org.fishermerge.data;

import dev.hardwood.metadata.PhysicalType;
import dev.hardwood.reader.ColumnReader;
import dev.hardwood.reader.ColumnReaders;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import org.fishermerge.checkpoint.InputException;

/**
 * Sentences or pairs of sentences in Parquet files, with the columns of one of GLUE's tasks. Two
 * texts are joined without a separator, as FusionBench joins them for GPT-2. Rows are tokenized
 * when they are first asked for, and kept.
 */
final class GlueDataset implements TokenDataset {
  private static final int ROWS_PER_STEP = 256;

  private final ParquetRows rows;
  private final List<String> columns;
  private final String description;
  private final Gpt2Tokenizer tokenizer;
  private final Map<Long, long[]> tokenized = new HashMap<>();

  private GlueDataset(
      ParquetRows rows, List<String> columns, String description, Gpt2Tokenizer tokenizer) {
    this.rows = rows;
    this.columns = columns;
    this.description = description;
    this.tokenizer = tokenizer;
  }

  static GlueDataset open(ParquetSource source, Path tokenizerFolder, int maxTokens) {
    Texts texts = new Texts();
    ParquetRows rows = ParquetRows.open(source, "", texts);
    return new GlueDataset(
        rows, texts.columns, source.description(), Gpt2Tokenizer.open(tokenizerFolder, maxTokens));
  }

  /** The columns of the texts, the same in all files. */
  private static final class Texts implements ParquetRows.Columns {
    private List<String> columns = List.of();

    @Override
    public void require(Path file, List<SchemaNode> fields, String names) {
      List<String> found =
          GlueTask.textColumns(fields.stream().map(SchemaNode::name).toList())
              .orElseThrow(() ->
                  new InputException(
                      "%s: no texts of a GLUE task; the columns are: %s, expected one of: %s"
                          .formatted(file, names, known())));
      for (String column : found) {
        boolean text =
            ParquetRows.field(fields, column) instanceof SchemaNode.PrimitiveNode leaf
                && leaf.type() == PhysicalType.BYTE_ARRAY
                && leaf.maxRepetitionLevel() == 0;
        if (!text) {
          throw new InputException("%s: column %s holds no text".formatted(file, column));
        }
      }
      if (!columns.isEmpty() && !columns.equals(found)) {
        throw new InputException(
            "%s: texts are in %s, in the files before in %s"
                .formatted(file, String.join(" and ", found), String.join(" and ", columns)));
      }
      columns = found;
    }

    private static String known() {
      return String.join(
          "; ",
          Arrays.stream(GlueTask.values())
              .map(task -> String.join(" and ", task.columns()))
              .distinct()
              .toList());
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
  public String where(long row) {
    return rows.where(row);
  }

  @Override
  public List<long[]> texts(long[] wanted) {
    long[] missing =
        Arrays.stream(wanted).distinct().filter(row -> !tokenized.containsKey(row)).toArray();
    rows.read(
        missing,
        ColumnProjection.columns(columns.toArray(String[]::new)),
        ROWS_PER_STEP,
        () -> false,
        (position, readers, at) -> {
          long row = missing[position];
          String first = text(readers, columns.getFirst(), at, row);
          String second = columns.size() == 1 ? null : text(readers, columns.getLast(), at, row);
          tokenized.put(row, tokenizer.encode(first, second));
        });
    return Arrays.stream(wanted)
        .mapToObj(row -> Objects.requireNonNull(tokenized.get(row)))
        .toList();
  }

  private String text(ColumnReaders readers, String column, int at, long row) {
    ColumnReader reader = readers.getColumnReader(column);
    if (reader.getLeafValidity().isNull(at)) {
      throw new InputException("%s: %s is null".formatted(where(row), column));
    }
    int[] offsets = reader.getBinaryOffsets();
    return new String(
        reader.getBinaryValues(),
        offsets[at],
        offsets[at + 1] - offsets[at],
        StandardCharsets.UTF_8);
  }

  @Override
  public OptionalLong padToken() {
    return tokenizer.padToken();
  }

  @Override
  public List<String> warnings() {
    return tokenizer.warnings();
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
