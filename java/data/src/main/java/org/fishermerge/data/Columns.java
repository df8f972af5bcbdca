package org.fishermerge.data;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;

/**
 * What the columns of a data set are called where they do not have their usual names: {@code image}
 * and {@code label}, or {@code label} and the text columns of a {@link GlueTask}.
 *
 * @param names of columns in the data, by usual name
 */
public record Columns(Map<String, String> names) {
  /** All as usual. */
  public static final Columns USUAL = new Columns(Map.of());

  static final String LABEL = "label";
  static final String IMAGE = "image";

  public Columns {
    names = Map.copyOf(names);
  }

  /**
   * Parses {@code image=img,label=fine_label}.
   *
   * @param option how messages name where the text comes from
   */
  public static Columns parse(String text, String option) {
    Map<String, String> names = new LinkedHashMap<>();
    for (String pair : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      String usual = equals < 0 ? "" : pair.substring(0, equals).strip();
      String name = pair.substring(equals + 1).strip();
      if (usual.isEmpty() || name.isEmpty()) {
        throw new InputException(
            "%s %s: expected USUAL=NAME pairs, as in image=img,label=fine_label"
                .formatted(option, text));
      }
      if (names.put(usual, name) != null) {
        throw new InputException("%s %s: %s is given twice".formatted(option, text, usual));
      }
    }
    return new Columns(names);
  }

  /** What the column is called in the data. */
  String of(String usual) {
    return names.getOrDefault(usual, usual);
  }

  Optional<String> given(String usual) {
    return Optional.ofNullable(names.get(usual));
  }

  /** Refuses names for data that has no columns. */
  void requireUsual(Object file) {
    if (!names.isEmpty()) {
      throw new InputException(
          file + ": holds tensors and no columns; names of columns are for tables");
    }
  }

  /** What messages add to the names of the columns there are. */
  static String advice(String usual) {
    return "name it with --columns %s=NAME (columns.%s in a configuration)".formatted(usual, usual);
  }
}
