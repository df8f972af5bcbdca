package org.fishermerge.cli.config;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.checkpoint.Reasons;

/** The YAML files that configurations are composed of: the user's first, then the product's. */
public final class ConfigTree {
  private static final String EMBEDDED = "/config/";
  private static final String SUFFIX = ".yaml";

  /** Hydra refuses such files. */
  private static final String OTHER_SUFFIX = ".yml";

  /** Texts by path without suffix, for example {@code method/dummy}. */
  private final SortedMap<String, String> texts = new TreeMap<>();

  private final Map<String, String> origins = new HashMap<>();

  /** Files of the other suffix, by path without it. */
  private final Map<String, String> misnamed = new HashMap<>();

  private final Map<String, ConfigFile> parsed = new HashMap<>();

  private ConfigTree() {}

  /** The product's configurations. */
  public static ConfigTree embedded() {
    ConfigTree tree = new ConfigTree();
    URL root =
        Objects.requireNonNull(
            ConfigTree.class.getResource(EMBEDDED + Composition.ROOT + SUFFIX), "config resources");
    try {
      URI uri = root.toURI();
      if (uri.getScheme().equals("jar")) {
        String text = uri.toString();
        Path jar = Path.of(URI.create(text.substring(4, text.indexOf("!/"))));
        try (FileSystem files = FileSystems.newFileSystem(jar)) {
          tree.add(files.getPath(EMBEDDED), "");
        }
      } else {
        tree.add(Objects.requireNonNull(Path.of(uri).getParent()), "");
      }
    } catch (IOException | URISyntaxException e) {
      throw new IllegalStateException("cannot read the embedded configurations", e);
    }
    return tree;
  }

  /** The same, with a folder of the user's whose files go before those of the same path. */
  public ConfigTree with(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new InputException(
          folder
              + ": no such folder; --config-dir takes a folder with groups such as method/ in it");
    }
    try {
      add(folder, folder + "/");
    } catch (IOException e) {
      throw new InputException(folder + ": cannot be read: " + Reasons.of(e), e);
    }
    return this;
  }

  private void add(Path root, String origin) throws IOException {
    // Links are the user's own.
    try (Stream<Path> files = Files.walk(root, FileVisitOption.FOLLOW_LINKS)) {
      for (Path file : (Iterable<Path>) files::iterator) {
        String path = root.relativize(file).toString().replace('\\', '/');
        if (path.endsWith(OTHER_SUFFIX)) {
          misnamed.put(path.substring(0, path.length() - OTHER_SUFFIX.length()), origin + path);
        } else if (path.endsWith(SUFFIX) && Files.isRegularFile(file)) {
          String name = name(path);
          texts.put(name, InputFiles.text(file));
          origins.put(name, origin + path);
        }
      }
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /** A name without the suffix of a file, which may be given or left out. */
  static String name(String path) {
    return path.endsWith(SUFFIX) ? path.substring(0, path.length() - SUFFIX.length()) : path;
  }

  /** The file of that path, with or without its suffix. */
  Optional<ConfigFile> file(String given) {
    String path = name(given);
    String text = texts.get(path);
    if (text == null) {
      return Optional.empty();
    }
    return Optional.of(
        parsed.computeIfAbsent(
            path, p -> ConfigFile.parse(text, Objects.requireNonNull(origins.get(p)))));
  }

  /** What to say of a path that is missing because its file has another suffix; often nothing. */
  String misnamed(String path) {
    String file =
        misnamed.get(
            path.endsWith(OTHER_SUFFIX)
                ? path.substring(0, path.length() - OTHER_SUFFIX.length())
                : name(path));
    return file == null ? "" : "; " + file + " must end in " + SUFFIX + ", as Hydra wants it";
  }

  /** Whether there is a folder of that name. */
  boolean isGroup(String group) {
    return !options(group).isEmpty();
  }

  /** Paths below a group, without those that begin with an underscore; all files for "". */
  List<String> options(String group) {
    String prefix = group.isEmpty() ? "" : group + "/";
    return texts.keySet().stream()
        .filter(path -> path.startsWith(prefix))
        .map(path -> path.substring(prefix.length()))
        .filter(option -> !option.startsWith("_") && !option.contains("/_"))
        .toList();
  }

  /** Names of the top-level groups. */
  Collection<String> groups() {
    return texts.keySet().stream()
        .filter(path -> path.contains("/"))
        .map(path -> path.substring(0, path.indexOf('/')))
        .distinct()
        .toList();
  }

  /**
   * The option of a group that a name means: that very path, with or without its suffix; the only
   * option of that name in a folder below, as FusionBench 0.1 named them; or the present name of
   * one that was renamed.
   *
   * @throws InputException if there is none, with the nearest
   */
  String option(String group, String name) {
    String wanted = name(name);
    for (String candidate : List.of(wanted, OldNames.task(wanted))) {
      if (texts.containsKey(group.isEmpty() ? candidate : group + "/" + candidate)) {
        return candidate;
      }
    }
    List<String> options = options(group);
    List<String> below = options.stream().filter(o -> o.endsWith("/" + wanted)).toList();
    if (below.size() == 1) {
      return below.getFirst();
    }
    if (below.size() > 1) {
      throw new InputException(
          group + "=" + name + ": there are several: " + String.join(", ", below));
    }
    throw new InputException(
        group
            + "="
            + name
            + ": no such option"
            + misnamed(group.isEmpty() ? wanted : group + "/" + wanted)
            + NearestNames.of(wanted, options));
  }
}
