package org.fishermerge.data;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;

/**
 * Sentences or pairs of sentences in tables, with the columns of one of GLUE's tasks. Two texts are
 * joined without a separator, as FusionBench joins them for GPT-2. Rows are tokenized when they are
 * first asked for, and kept.
 */
final class GlueDataset implements TokenDataset, TableExamples {
  private static final int ROWS_PER_STEP = 256;

  private final TableRows rows;
  private final List<String> columns;
  private final Gpt2Tokenizer tokenizer;
  private final Map<Long, long[]> tokenized = new HashMap<>();

  /** Rows with a text that is null, and the column of it. */
  private final Map<Long, String> nulls = new HashMap<>();

  private GlueDataset(TableRows rows, List<String> columns, Gpt2Tokenizer tokenizer) {
    this.rows = rows;
    this.columns = columns;
    this.tokenizer = tokenizer;
  }

  static GlueDataset open(
      TableSource source, Columns columns, Path tokenizerFolder, int maxTokens) {
    Texts texts = new Texts(columns);
    TableRows rows = TableRows.open(source, columns, "", texts);
    return new GlueDataset(rows, texts.columns, Gpt2Tokenizer.open(tokenizerFolder, maxTokens));
  }

  /** The columns of the texts, the same in all files. */
  private static final class Texts implements TableSchema.Check {
    private final Columns names;
    private List<String> columns = List.of();

    Texts(Columns names) {
      this.names = names;
    }

    @Override
    public void require(Path file, List<TableColumn> fields, String present) {
      List<String> found = find(file, fields, present);
      for (String column : found) {
        TableColumn held = TableColumn.named(fields, column);
        if (held == null || !held.holdsTexts()) {
          throw new InputException(
              "%s: column %s holds no text; the columns are: %s".formatted(file, column, present));
        }
      }
      if (!columns.isEmpty() && !columns.equals(found)) {
        throw new InputException(
            "%s: texts are in %s, in the files before in %s"
                .formatted(file, String.join(" and ", found), String.join(" and ", columns)));
      }
      columns = found;
    }

    private List<String> find(Path file, List<TableColumn> fields, String present) {
      Set<String> all = fields.stream().map(TableColumn::name).collect(Collectors.toSet());
      for (String given : names.names().values()) {
        if (!all.contains(given)) {
          throw new InputException(
              "%s: no column %s; the columns are: %s".formatted(file, given, present));
        }
      }
      return GlueTask.textColumns(all, names)
          .orElseThrow(() ->
              new InputException(
                  "%s: no texts of a GLUE task; the columns are: %s, expected one of: %s; name"
                          .formatted(file, present, known())
                      + " others with --columns, as in --columns sentence=NAME"));
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
  public TableRows rows() {
    return rows;
  }

  @Override
  public List<long[]> texts(long[] wanted, Consumer<BadRowException> bad) {
    long[] missing =
        Arrays.stream(wanted).distinct().filter(row -> !tokenized.containsKey(row)).toArray();
    rows.read(
        missing,
        Set.copyOf(columns),
        ROWS_PER_STEP,
        () -> false,
        (position, row) -> {
          List<String> read = new ArrayList<>();
          for (String column : columns) {
            byte[] text = row.bytes(column);
            if (text == null) {
              nulls.putIfAbsent(missing[position], column);
              return;
            }
            read.add(new String(text, StandardCharsets.UTF_8));
          }
          String second = columns.size() == 1 ? null : read.getLast();
          tokenized.put(missing[position], tokenizer.encode(read.getFirst(), second));
        });
    List<long[]> texts = new ArrayList<>();
    for (long row : wanted) {
      if (nulls.containsKey(row)) {
        bad.accept(new BadRowException(row, where(row), nulls.get(row) + " is null"));
      }
      texts.add(tokenized.getOrDefault(row, new long[0]));
    }
    return texts;
  }

  @Override
  public boolean complete() {
    return true;
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
