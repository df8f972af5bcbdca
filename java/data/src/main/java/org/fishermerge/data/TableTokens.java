package org.fishermerge.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Token ids in tables, as a tokenizer of transformers gives them to {@code Dataset.map}: lists of
 * integers in {@code input_ids} and, where they are there, {@code attention_mask} and {@code
 * token_type_ids}.
 */
final class TableTokens implements TokenDataset, TableExamples {
  private static final int ROWS_PER_STEP = 256;

  private final TableRows rows;
  private final Lists lists;

  private TableTokens(TableRows rows, Lists lists) {
    this.rows = rows;
    this.lists = lists;
  }

  /** Whether tables hold token ids, and no texts that the user names. */
  static boolean areIn(TableSource source, Columns columns) {
    boolean named =
        Arrays.stream(GlueTask.values())
            .flatMap(task -> task.columns().stream())
            .anyMatch(text -> columns.given(text).isPresent());
    return !named
        && TableColumn.is(
            ArrowRows.columns(source.files()),
            columns.of(SafetensorsTokens.IDS),
            TableColumn.Kind.INTEGERS);
  }

  static TableTokens open(TableSource source, Columns columns) {
    Lists lists = new Lists(columns);
    return new TableTokens(TableRows.open(source, columns, "", lists), lists);
  }

  /** The columns of the lists, the same in all files. */
  private static final class Lists implements TableSchema.Check {
    private final Columns names;
    private final String ids;
    private @Nullable String mask;
    private @Nullable String types;
    private boolean looked;

    Lists(Columns names) {
      this.names = names;
      this.ids = names.of(SafetensorsTokens.IDS);
    }

    @Override
    public void require(Path file, List<TableColumn> columns, String present) {
      String foundMask = optional(SafetensorsTokens.MASK, columns);
      String foundTypes = optional(SafetensorsTokens.TYPES, columns);
      if (looked && !(same(mask, foundMask) && same(types, foundTypes))) {
        throw new InputException(
            "%s: has not the columns of the files before; the columns are: %s"
                .formatted(file, present));
      }
      looked = true;
      mask = foundMask;
      types = foundTypes;
      for (String column : all()) {
        if (!TableColumn.is(columns, column, TableColumn.Kind.INTEGERS)) {
          throw new InputException(
              "%s: column %s holds no lists of integers; the columns are: %s"
                  .formatted(file, column, present));
        }
      }
    }

    private static boolean same(@Nullable String one, @Nullable String other) {
      return one == null ? other == null : one.equals(other);
    }

    private @Nullable String optional(String usual, List<TableColumn> columns) {
      String name = names.of(usual);
      return names.given(usual).isPresent() || TableColumn.named(columns, name) != null
          ? name
          : null;
    }

    Set<String> all() {
      Set<String> all = new LinkedHashSet<>(Set.of(ids));
      if (mask != null) {
        all.add(mask);
      }
      if (types != null) {
        all.add(types);
      }
      return all;
    }
  }

  @Override
  public TableRows rows() {
    return rows;
  }

  @Override
  public List<long[]> texts(long[] wanted, Consumer<BadRowException> bad) {
    long[] @Nullable [] ids = lists(wanted, lists.ids);
    String masked = lists.mask;
    long[] @Nullable [] masks = masked == null ? new long[0][] : lists(wanted, masked);
    String typed = lists.types;
    long[] @Nullable [] types = typed == null ? new long[0][] : lists(wanted, typed);
    List<long[]> texts = new ArrayList<>();
    for (int i = 0; i < wanted.length; i++) {
      String where = where(wanted[i]);
      long[] all = ids[i];
      long[] mask = masked == null ? all : masks[i];
      String wrong =
          all == null
              ? lists.ids + " is null or has a null in it"
              : !fits(mask, all)
                  ? masked + " is null or not as long as " + lists.ids
                  : typed != null && !fits(types[i], all)
                      ? typed + " is null or not as long as " + lists.ids
                      : null;
      if (wrong != null) {
        bad.accept(new BadRowException(wanted[i], where, wrong));
      }
      if (wrong != null || all == null || mask == null) {
        texts.add(new long[0]);
      } else {
        texts.add(
            masked == null
                ? all
                : Arrays.copyOf(all, SafetensorsTokens.unmasked(mask, masked, where)));
      }
    }
    return texts;
  }

  private static boolean fits(long @Nullable [] list, long[] ids) {
    return list != null && list.length == ids.length;
  }

  private long[] @Nullable [] lists(long[] wanted, String column) {
    long[] @Nullable [] found = new long[wanted.length][];
    rows.read(
        wanted,
        Set.of(column),
        ROWS_PER_STEP,
        () -> false,
        (position, row) -> found[position] = row.integers(column));
    return found;
  }

  @Override
  public boolean complete() {
    return lists.mask != null;
  }

  @Override
  public Optional<List<long[]>> types(long[] wanted) {
    String column = lists.types;
    if (column == null) {
      return Optional.empty();
    }
    long[] @Nullable [] found = lists(wanted, column);
    List<long[]> types = new ArrayList<>();
    for (int i = 0; i < wanted.length; i++) {
      if (found[i] == null) {
        throw new InputException(
            "%s: %s is null or has a null in it".formatted(where(wanted[i]), column));
      }
      types.add(found[i]);
    }
    return Optional.of(types);
  }

  @Override
  public void close() {}
}
