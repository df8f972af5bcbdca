package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.JsonFile;
import org.jspecify.annotations.Nullable;

/**
 * What {@code save_to_disk} of {@code datasets} says of a split in {@code state.json}.
 *
 * @param split its name; train where it has none
 * @param dataFiles the Arrow files, in order, relative to its folder
 * @param columns those that are not left out; null for all
 */
public record SavedDataset(String split, List<String> dataFiles, @Nullable List<String> columns) {
  /** The file that says this. */
  public static final String STATE = "state.json";

  /** The file beside it that describes the columns. */
  public static final String INFO = "dataset_info.json";

  /** The file that names the splits, each a folder beside it. */
  static final String SPLITS = "dataset_dict.json";

  private static final Pattern SPLIT = Pattern.compile("[\\w.-]+");
  private static final String FILES = "_data_files";
  private static final String INDICES = "_indices_data_files";
  private static final String COLUMNS = "_format_columns";

  /**
   * Reads it.
   *
   * @throws InputException if it is not as {@code datasets} writes it, or asks for what is not done
   *     here
   */
  public static SavedDataset read(Path file) {
    Map<String, @Nullable Object> state = JsonFile.object(file);
    if (state.get(INDICES) instanceof List<?> indices && !indices.isEmpty()) {
      throw new InputException(
          "%s: %s chooses among the rows, which is not done here; in Python, write the data set anew"
                  .formatted(file, INDICES)
              + " with load_from_disk(folder).flatten_indices().save_to_disk(other)");
    }
    List<String> files = new ArrayList<>();
    for (Object entry : state.get(FILES) instanceof List<?> list ? list : List.of()) {
      if (!(entry instanceof Map<?, ?> map) || !(map.get("filename") instanceof String name)) {
        throw wrong(file, FILES, "a list of {\"filename\": NAME}");
      }
      files.add(name);
    }
    if (files.isEmpty()) {
      throw wrong(file, FILES, "the names of the Arrow files");
    }
    List<String> columns = null;
    if (state.get(COLUMNS) != null && !Boolean.TRUE.equals(state.get("_output_all_columns"))) {
      if (!(state.get(COLUMNS) instanceof List<?> names)
          || !names.stream().allMatch(String.class::isInstance)) {
        throw wrong(file, COLUMNS, "a list of names");
      }
      columns = names.stream().map(String.class::cast).toList();
    }
    return new SavedDataset(split(state.get("_split")), List.copyOf(files), columns);
  }

  /** It may be a part of a split, and is then written as that: {@code train[:10%]}. */
  private static String split(@Nullable Object stated) {
    Matcher name = SPLIT.matcher(stated instanceof String text ? text : "");
    return name.lookingAt() ? name.group() : NamingRules.TRAIN;
  }

  private static InputException wrong(Path file, String key, String expected) {
    return new InputException(
        "%s: key %s must be %s, as save_to_disk writes it".formatted(file, key, expected));
  }

  /** The splits that {@code dataset_dict.json} names. */
  static List<String> splits(Path file) {
    if (!(JsonFile.object(file).get("splits") instanceof List<?> names)
        || names.isEmpty()
        || !names.stream().allMatch(String.class::isInstance)) {
      throw wrong(file, "splits", "a list of names");
    }
    return names.stream().map(String.class::cast).toList();
  }

  /** Whether a column is not left out. */
  public boolean shows(String column) {
    return columns == null || columns.contains(column);
  }
}
