package org.fishermerge.data.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

/**
 * The YAML between the {@code ---} lines at the top of a data set's {@code README.md}, of which
 * {@code configs} says which files make up which split.
 */
final class DatasetCard {
  private static final String TRAIN = "train";

  private DatasetCard() {}

  /**
   * A named subset of the data set.
   *
   * @param isDefault whether it is meant when none is named
   * @param folder below which its files are, with a slash at the end; empty for all of it
   * @param patterns split to {@link Glob} patterns below the folder; empty to go by names
   */
  record Configuration(
      String name, boolean isDefault, String folder, Map<String, List<String>> patterns) {}

  /**
   * The configurations that the card lists, in its order.
   *
   * @throws InputException if the card is not as described
   */
  static List<Configuration> configurations(Path card) {
    Object root;
    try {
      Optional<String> yaml = frontMatter(Files.readString(card));
      if (yaml.isEmpty()) {
        return List.of();
      }
      root = new Load(LoadSettings.builder().build()).loadFromString(yaml.get());
    } catch (RuntimeException e) {
      // Some mistakes escape the parser as other exceptions than its own.
      throw new InputException(
          "%s: the YAML at its top is not valid: %s".formatted(card, e.getMessage()), e);
    } catch (IOException e) {
      throw HubCache.cannotRead(card, e);
    }
    List<Configuration> found = new ArrayList<>();
    for (Object entry : list(get(root, "configs"))) {
      found.add(configuration(card, entry));
    }
    return found;
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
    if (!(entry instanceof Map)) {
      throw new InputException(card + ": configs must be a list of mappings");
    }
    Object folder = get(entry, "data_dir");
    String below = folder == null ? "" : folder.toString().replaceAll("^\\./|/+$", "");
    return new Configuration(
        name == null ? "default" : name.toString(),
        Boolean.TRUE.equals(get(entry, "default")),
        below.isEmpty() || below.equals(".") ? "" : below + "/",
        patterns(get(entry, "data_files")));
  }

  /**
   * In all the forms there are: one pattern or a list of them, which is the train split; a mapping
   * of split to patterns; a list of mappings with {@code split} and {@code path}.
   */
  private static Map<String, List<String>> patterns(@Nullable Object dataFiles) {
    Map<String, List<String>> patterns = new LinkedHashMap<>();
    if (dataFiles instanceof Map<?, ?> bySplit) {
      bySplit.forEach((split, paths) -> add(patterns, split, paths));
      return patterns;
    }
    for (Object entry : list(dataFiles)) {
      if (entry instanceof Map<?, ?> file) {
        Object split = file.get("split");
        add(patterns, split == null ? TRAIN : split, file.get("path"));
      } else {
        add(patterns, TRAIN, entry);
      }
    }
    return patterns;
  }

  private static void add(
      Map<String, List<String>> patterns, Object split, @Nullable Object paths) {
    List<String> all = patterns.computeIfAbsent(split.toString(), any -> new ArrayList<>());
    list(paths).forEach(path -> all.add(path.toString()));
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
