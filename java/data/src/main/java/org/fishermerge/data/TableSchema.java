package org.fishermerge.data;

import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;

/** What the files of a split's table have in common; they are added one after the other. */
final class TableSchema {
  /** The second is what transformers calls them. */
  private static final List<String> LABEL_NAMES = List.of(Columns.LABEL, "labels");

  static final int NAMES_SHOWN = 8;

  /** Looks at the columns of each file on opening. */
  interface Check {
    /**
     * Refuses a file without the columns that are needed.
     *
     * @param names of all columns, for messages
     */
    void require(Path file, List<TableColumn> columns, String names);
  }

  private final List<Path> files;
  private final Map<String, List<String>> card;
  private final Columns names;
  private final Check required;
  private final Set<Optional<String>> labelColumns = new LinkedHashSet<>();
  private final Set<Boolean> kinds = new LinkedHashSet<>();
  private final Set<Optional<List<String>>> stated = new LinkedHashSet<>();
  private String columns = "";

  /**
   * @param files that will be added
   * @param card the class names of columns that the data set's card states
   * @param names what columns are called
   */
  TableSchema(List<Path> files, Map<String, List<String>> card, Columns names, Check required) {
    this.files = files;
    this.card = card;
    this.names = names;
    this.required = required;
  }

  /**
   * Adds a file.
   *
   * @param remark behind the names of the columns in messages
   * @param classNames those that the file states for a column
   */
  void add(
      Path file,
      List<TableColumn> fields,
      String remark,
      Function<String, Optional<List<String>>> classNames) {
    columns = NameList.of(fields.stream().map(TableColumn::name).toList(), NAMES_SHOWN) + remark;
    required.require(file, fields, columns);
    Optional<TableColumn> label = label(file, fields);
    labelColumns.add(label.map(TableColumn::name));
    label.ifPresent(column -> kinds.add(column.holdsTexts()));
    stated.add(label.flatMap(column -> classNames.apply(column.name())));
  }

  private Optional<TableColumn> label(Path file, List<TableColumn> fields) {
    String given = names.given(Columns.LABEL).orElse(null);
    String name =
        given != null
            ? given
            : LABEL_NAMES.stream()
                .filter(usual -> TableColumn.named(fields, usual) != null)
                .findFirst()
                .orElse(null);
    if (name == null) {
      return Optional.empty();
    }
    TableColumn label = TableColumn.named(fields, name);
    if (label == null) {
      throw new InputException(
          "%s: no column %s; the columns are: %s".formatted(file, name, columns));
    }
    label
        .notLabels()
        .ifPresent(what -> {
          throw new InputException(
              "%s: column %s holds no class labels but %s; another one can be named with --columns"
                      .formatted(file, name, what)
                  + " label=NAME; the columns are: "
                  + columns);
        });
    return Optional.of(label);
  }

  /**
   * To be called when all files were added.
   *
   * @param rows of all of them
   */
  void requireAlike(long rows) {
    if (rows == 0) {
      throw new InputException(
          "%s: the data set has no rows (%d files)".formatted(first(), files.size()));
    }
    if (labelColumns.size() > 1) {
      throw new InputException(
          "%s and %d more files: some have a column label, others have not"
              .formatted(first(), files.size() - 1));
    }
    if (kinds.size() > 1) {
      throw new InputException(
          "%s and %d more files: labels are texts in some and numbers in others"
              .formatted(first(), files.size() - 1));
    }
    if (stated.size() > 1) {
      throw new InputException(
          "%s and %d more files state different class names in their metadata: %s"
              .formatted(
                  first(),
                  files.size() - 1,
                  String.join(
                      "; ",
                      stated.stream()
                          .map(of -> NameList.of(of.orElse(List.of()), NAMES_SHOWN))
                          .toList())));
    }
    Optional<List<String>> own = stated.iterator().next();
    List<String> ofCard = labelColumn().map(card::get).orElse(null);
    if (own.isPresent() && ofCard != null && !LabelMap.sameSpelling(own.get(), ofCard)) {
      throw new InputException(
          "%s: its metadata names the classes of %s %s, the data set's card README.md names them %s;"
                  .formatted(
                      first(),
                      labelColumn().orElseThrow(),
                      NameList.of(own.get(), NAMES_SHOWN),
                      NameList.of(ofCard, NAMES_SHOWN))
              + " correct one of them, or name the files themselves in place of the data set");
    }
  }

  Path first() {
    return files.getFirst();
  }

  /** The names of the columns, for messages. */
  String columns() {
    return columns;
  }

  Optional<String> labelColumn() {
    return labelColumns.iterator().next();
  }

  boolean textLabels() {
    return kinds.contains(true);
  }

  /** The class names that the files state, or else the card. */
  Optional<List<String>> classNames() {
    return stated.iterator().next().or(() -> labelColumn().map(card::get));
  }
}
