package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

/**
 * The YAML between the {@code ---} lines at the top of a data set's {@code README.md}, of which
 * {@code configs} says which files make up which split, and {@code dataset_info} what columns hold.
 *
 * @param configurations those that it lists, in its order
 * @param classNames of columns that hold classes, by column, by configuration
 */
record DatasetCard(
    List<Configuration> configurations, Map<String, Map<String, List<String>>> classNames) {
  /** Where there is none. */
  static final DatasetCard NONE = new DatasetCard(List.of(), Map.of());

  private static final String TRAIN = "train";

  /** The configuration of cards that name none. */
  static final String DEFAULT = "default";

  /** Of lists and mappings: aliases of aliases grow with their power. */
  private static final int MOST_ALIASES = 20;

  /** Parameters of a configuration that change which rows there are. */
  private static final List<String> UNSUPPORTED =
      List.of("filters", "metadata_filenames", "drop_metadata");

  /**
   * A named subset of the data set.
   *
   * @param isDefault whether it is meant when none is named
   * @param folder below which its files are, with a slash at the end; empty for all of it
   * @param patterns split to {@link Glob} patterns below the folder; empty to go by names
   * @param dropLabels whether folders of pictures are no classes; null to go by names
   */
  record Configuration(
      String name,
      boolean isDefault,
      String folder,
      Map<String, List<String>> patterns,
      @Nullable Boolean dropLabels) {}

  /**
   * Reads a card.
   *
   * @throws InputException if the card is not as described
   */
  static DatasetCard read(Path card) {
    String text = InputFiles.text(card);
    Optional<String> yaml =
        card.toString().endsWith(".yaml") ? Optional.of(text) : frontMatter(text);
    if (yaml.isEmpty()) {
      return NONE;
    }
    Object root;
    try {
      root =
          new Load(LoadSettings.builder().setMaxAliasesForCollections(MOST_ALIASES).build())
              .loadFromString(yaml.get());
    } catch (RuntimeException | StackOverflowError e) {
      // Some mistakes escape the parser as other exceptions than its own, and depth has no limit.
      throw new InputException(
          "%s: the YAML at its top is not valid: %s".formatted(card, Reasons.of(e)), e);
    }
    List<Configuration> found = new ArrayList<>();
    for (Object entry : list(get(root, "configs"))) {
      found.add(configuration(card, entry));
    }
    return new DatasetCard(List.copyOf(found), classNames(get(root, "dataset_info")));
  }

  /**
   * Names of classes, where they are as {@code datasets} writes them; what is not is passed over.
   */
  private static Map<String, Map<String, List<String>>> classNames(@Nullable Object info) {
    Map<String, Map<String, List<String>>> all = new LinkedHashMap<>();
    for (Object entry : list(info)) {
      Map<String, List<String>> columns = new LinkedHashMap<>();
      for (Object feature : list(get(entry, "features"))) {
        if (get(feature, "name") instanceof String column) {
          List<String> names = names(get(get(get(feature, "dtype"), "class_label"), "names"));
          if (!names.isEmpty()) {
            columns.put(column, names);
          }
        }
      }
      Object name = get(entry, "config_name");
      all.putIfAbsent(name instanceof String text ? text : DEFAULT, columns);
    }
    return all;
  }

  /** A list of names, or names by their numbers, all from 0 on; else empty. */
  private static List<String> names(@Nullable Object stated) {
    List<String> names = new ArrayList<>();
    int size = stated instanceof Map<?, ?> map ? map.size() : list(stated).size();
    for (int i = 0; i < size; i++) {
      Object name =
          stated instanceof Map<?, ?> map
              ? map.containsKey(i) ? map.get(i) : map.get(Integer.toString(i))
              : list(stated).get(i);
      if (!(name instanceof String) && !(name instanceof Number) && !(name instanceof Boolean)) {
        return List.of();
      }
      names.add(name.toString());
    }
    return List.copyOf(names);
  }

  /** The class names of a configuration, by column. */
  Map<String, List<String>> classNamesOf(String configuration) {
    return classNames.getOrDefault(configuration, Map.of());
  }

  private static Optional<String> frontMatter(String text) {
    List<String> lines = text.lines().toList();
    if (lines.isEmpty() || !lines.getFirst().replace("\uFEFF", "").strip().equals("---")) {
      return Optional.empty();
    }
    for (int i = 1; i < lines.size(); i++) {
      if (lines.get(i).stripTrailing().equals("---")) {
        return Optional.of(String.join("\n", lines.subList(1, i)));
      }
    }
    return Optional.empty();
  }

  private static Configuration configuration(Path card, Object entry) {
    Object name = get(entry, "config_name");
    Object folder = get(entry, "data_dir");
    if (!(entry instanceof Map)) {
      throw new InputException(card + ": configs must be a list of mappings");
    }
    for (String key : UNSUPPORTED) {
      if (get(entry, key) != null && !Boolean.FALSE.equals(get(entry, key))) {
        throw new InputException(
            "%s: configs: %s chooses rows or files in a way that is not supported; take it out, or"
                    .formatted(card, key)
                + " name files instead of the data set");
      }
    }
    String below = folder == null ? "" : text(card, folder).replaceAll("^\\./|/+$", "");
    return new Configuration(
        name == null ? DEFAULT : text(card, name),
        Boolean.TRUE.equals(get(entry, "default")),
        below.isEmpty() || below.equals(".") ? "" : below + "/",
        patterns(card, get(entry, "data_files")),
        get(entry, "drop_labels") instanceof Boolean drop ? drop : null);
  }

  /**
   * In all the forms there are: one pattern or a list of them, which is the train split; a mapping
   * of split to patterns; a list of mappings with {@code split} and {@code path}.
   */
  private static Map<String, List<String>> patterns(Path card, @Nullable Object dataFiles) {
    Map<String, List<String>> patterns = new LinkedHashMap<>();
    if (dataFiles instanceof Map<?, ?> bySplit) {
      bySplit.forEach((split, paths) -> add(card, patterns, split, paths));
      return patterns;
    }
    List<Object> train = new ArrayList<>();
    for (Object entry : list(dataFiles)) {
      if (entry instanceof Map<?, ?> file) {
        Object split = file.get("split");
        add(card, patterns, split == null ? TRAIN : split, file.get("path"));
      } else {
        train.add(entry);
      }
    }
    if (!train.isEmpty()) {
      add(card, patterns, TRAIN, train);
    }
    return patterns;
  }

  private static void add(
      Path card, Map<String, List<String>> patterns, Object split, @Nullable Object paths) {
    List<String> all = new ArrayList<>();
    list(paths).forEach(path -> all.add(text(card, path)));
    if (patterns.put(text(card, split), all) != null) {
      throw new InputException(
          "%s: configs: data_files names split %s twice".formatted(card, split));
    }
  }

  /** Lists and mappings have a text as well, which may be endless: they can hold themselves. */
  private static String text(Path card, @Nullable Object value) {
    if (value == null || value instanceof Map || value instanceof Iterable) {
      throw new InputException(
          card + ": configs: expected texts as names of configurations, splits, folders and files");
    }
    return value.toString();
  }

  private static @Nullable Object get(@Nullable Object mapping, String key) {
    return mapping instanceof Map<?, ?> map ? map.get(key) : null;
  }

  /** A list as it is, nothing as an empty one, anything else as a list of it alone. */
  private static List<?> list(@Nullable Object value) {
    if (value == null) {
      return List.of();
    }
    return value instanceof List<?> list ? list : List.of(value);
  }
}
