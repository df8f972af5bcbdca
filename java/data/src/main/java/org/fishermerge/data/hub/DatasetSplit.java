package org.fishermerge.data.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Supplier;
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
    return find(hub).get();
  }

  /**
   * The same in two steps: what is wrong is thrown here, and the files are downloaded when they are
   * asked for.
   */
  public Supplier<List<Path>> find(Hub hub) {
    Path folder = folder();
    if (folder != null) {
      List<Path> files = inFolder(folder);
      return () -> files;
    }
    Repository repository = withParquet(hub);
    return () -> hub.fetch(repository, new ParquetFiles(this)).files();
  }

  /** The split's Parquet files in a folder that stands for a repository. */
  public List<Path> inFolder(Path folder) {
    LocalFiles local = new LocalFiles(folder);
    List<String> names = new ParquetFiles(this).choose(local);
    if (names.isEmpty()) {
      throw local.lacks("Parquet files of split " + split, "check the folder");
    }
    return names.stream().map(local::fetch).toList();
  }

  /** The data set, or the hub's Parquet version of it, at its present commit. */
  private Repository withParquet(Hub hub) {
    Repository repository = Repository.dataset(source);
    Optional<Repository> itself = ifParquet(hub, repository);
    if (itself.isPresent()) {
      return itself.get();
    }
    Optional<Repository> converted;
    try {
      converted = ifParquet(hub, repository.at(CONVERTED));
    } catch (HubUnreachableException e) {
      throw e;
    } catch (InputException e) {
      throw new InputException(
          "%s holds no Parquet files of split %s, and the hub's Parquet version cannot be had: %s"
              .formatted(repository, split, e.getMessage()),
          e);
    }
    return converted.orElseThrow(() ->
        new InputException(
            "%s holds no Parquet files of split %s, nor has the hub made any"
                .formatted(repository, split)));
  }

  private Optional<Repository> ifParquet(Hub hub, Repository repository) {
    List<String> chosen = new ArrayList<>();
    Snapshot snapshot =
        hub.fetch(
            repository,
            files -> {
              chosen.addAll(new ParquetFiles(this).choose(files));
              return List.of();
            });
    return chosen.isEmpty() ? Optional.empty() : Optional.of(repository.at(snapshot.commit()));
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
      Path root = realPath();
      try (Stream<Path> paths = Files.walk(root, MAX_FOLDER_DEPTH)) {
        TreeSet<String> names = new TreeSet<>();
        paths
            .filter(Files::isRegularFile)
            .forEach(file -> names.add(root.relativize(file).toString().replace('\\', '/')));
        return names;
      } catch (IOException e) {
        throw HubCache.cannotRead(folder, e);
      }
    }

    /** The folder itself may be a link. */
    private Path realPath() {
      try {
        return folder.toRealPath();
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
