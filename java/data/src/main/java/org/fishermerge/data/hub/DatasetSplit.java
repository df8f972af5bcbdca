package org.fishermerge.data.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.NavigableSet;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * One split of a data set, as {@code load_dataset(source, configuration, split=split)} of Python's
 * {@code datasets} means it, as far as it consists of Parquet files.
 *
 * @param source the id of a data set on the hub, with {@code @revision} or without, or a folder
 * @param configuration the subset, as {@code cola} is of {@code nyu-mll/glue}; null for the
 *     default, or the only one
 * @param split for example {@code train}
 */
public record DatasetSplit(String source, @Nullable String configuration, String split) {
  /** Where the hub puts Parquet versions of data sets that are not. */
  private static final String CONVERTED = "refs/convert/parquet";

  /** Deep enough for {@code data/CONFIGURATION/SPLIT/0000.parquet}, and not for a whole disk. */
  private static final int MAX_FOLDER_DEPTH = 4;

  /**
   * The split's Parquet files in their order. Nothing but these and the data set's {@code
   * README.md} is downloaded.
   *
   * @throws InputException if there is no such data set, configuration or split; the message lists
   *     those there are
   */
  public List<Path> files(Hub hub) {
    Path folder = folder();
    ParquetFiles parquet = new ParquetFiles(this);
    if (folder != null) {
      LocalFiles local = new LocalFiles(folder);
      List<String> names = parquet.choose(local);
      if (names.isEmpty()) {
        throw local.lacks("Parquet files of split " + split, "check the folder");
      }
      return names.stream().map(local::fetch).toList();
    }
    Repository repository = Repository.dataset(source);
    List<Path> files = hub.fetch(repository, parquet).files();
    if (!files.isEmpty()) {
      return files;
    }
    try {
      files = hub.fetch(repository.at(CONVERTED), parquet).files();
    } catch (HubUnreachableException e) {
      throw e;
    } catch (InputException e) {
      throw new InputException(
          "%s holds no Parquet files of split %s, and the hub's Parquet version cannot be had: %s"
              .formatted(repository, split, e.getMessage()),
          e);
    }
    if (files.isEmpty()) {
      throw new InputException(
          "%s holds no Parquet files of split %s, nor has the hub made any"
              .formatted(repository, split));
    }
    return files;
  }

  private @Nullable Path folder() {
    try {
      Path path = Path.of(source);
      return Files.isDirectory(path) ? path : null;
    } catch (InvalidPathException e) {
      return null;
    }
  }

  /** For messages. */
  @Override
  public String toString() {
    return configuration == null ? "data set " + source : source + ", " + configuration;
  }

  /** A folder that stands for a repository. */
  private record LocalFiles(Path folder) implements RepositoryFiles {
    @Override
    public NavigableSet<String> names() {
      try (Stream<Path> paths = Files.walk(folder, MAX_FOLDER_DEPTH)) {
        TreeSet<String> names = new TreeSet<>();
        paths
            .filter(Files::isRegularFile)
            .forEach(file -> names.add(folder.relativize(file).toString().replace('\\', '/')));
        return names;
      } catch (IOException e) {
        throw HubCache.cannotRead(folder, e);
      }
    }

    @Override
    public Path fetch(String name) {
      return folder.resolve(name);
    }

    @Override
    public InputException lacks(String what, String advice) {
      return new InputException("%s: holds no %s; %s".formatted(folder, what, advice));
    }
  }
}
