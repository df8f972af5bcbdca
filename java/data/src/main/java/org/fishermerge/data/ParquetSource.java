package org.fishermerge.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/**
 * The Parquet files of one split of a data set.
 *
 * @param files in order, at least one
 * @param description the folder's name and the split
 */
public record ParquetSource(List<Path> files, String description) {
  private static final String PARQUET = ".parquet";

  /** {@code train-00000-of-00002.parquet}, with a hash behind in older data sets. */
  private static final Pattern SHARD = Pattern.compile("(.*?)-\\d+-of-\\d+.*");

  /** {@code 0000.parquet}, {@code part-7.parquet}. */
  private static final Pattern NUMBERED = Pattern.compile("(.*?)[-_.]?\\d+");

  public ParquetSource {
    files = List.copyOf(files);
  }

  /**
   * What a folder, {@code FOLDER#split} or a single {@code FILE.parquet} names; empty for anything
   * else. The files are those in the folder, or in its {@code data} folder, by name; the split is
   * the file name's part before {@code -00000-of-00002} and may be left out if there is only one.
   *
   * @throws InputException if the folder has no such files or no such split
   */
  public static Optional<ParquetSource> find(String source) {
    Path path = path(source);
    if (path == null || !Files.exists(path)) {
      int hash = source.lastIndexOf('#');
      Path folder = hash < 0 ? null : path(source.substring(0, hash));
      return folder != null && Files.isDirectory(folder)
          ? Optional.of(ofFolder(folder, source.substring(hash + 1)))
          : Optional.empty();
    }
    if (Files.isDirectory(path)) {
      return Optional.of(ofFolder(path, null));
    }
    if (!path.toString().endsWith(PARQUET)) {
      return Optional.empty();
    }
    InputFiles.requireRegular(path);
    return Optional.of(new ParquetSource(List.of(path), name(path)));
  }

  private static @Nullable Path path(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      return null;
    }
  }

  private static ParquetSource ofFolder(Path folder, @Nullable String split) {
    List<Path> files = parquetFiles(folder);
    if (files.isEmpty() && Files.isDirectory(folder.resolve("data"))) {
      files = parquetFiles(folder.resolve("data"));
    }
    if (files.isEmpty()) {
      throw new InputException(
          folder + ": no *.parquet files in it, nor in a data folder inside it");
    }
    TreeMap<String, List<Path>> splits = new TreeMap<>();
    for (Path file : files) {
      splits.computeIfAbsent(split(file), any -> new ArrayList<>()).add(file);
    }
    if (split != null) {
      List<Path> chosen = splits.get(split);
      if (chosen == null) {
        throw new InputException(
            "%s: no split '%s'; there is %s"
                .formatted(folder, split, String.join(", ", splits.keySet())));
      }
      return new ParquetSource(chosen, name(folder) + "#" + split);
    }
    if (splits.size() > 1) {
      throw new InputException(
          "%s holds several splits (%s); choose one, as in %s#%s"
              .formatted(folder, String.join(", ", splits.keySet()), folder, splits.lastKey()));
    }
    String only = splits.firstKey();
    String description = name(folder) + (only.isEmpty() ? "" : "#" + only);
    return new ParquetSource(files, description);
  }

  private static List<Path> parquetFiles(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .filter(file -> name(file).endsWith(PARQUET) && Files.isRegularFile(file))
          .sorted(Comparator.comparing(ParquetSource::name))
          .toList();
    } catch (IOException e) {
      throw new InputException(folder + ": cannot list the folder: " + Reasons.of(e), e);
    }
  }

  private static String split(Path file) {
    String name = name(file);
    String base = name.substring(0, name.length() - PARQUET.length());
    for (Pattern pattern : List.of(SHARD, NUMBERED)) {
      Matcher matcher = pattern.matcher(base);
      if (matcher.matches()) {
        return matcher.group(1);
      }
    }
    return base;
  }

  private static String name(Path path) {
    // A root has no name; "." says little.
    Path name = path.toAbsolutePath().normalize().getFileName();
    return name == null ? path.toString() : name.toString();
  }
}
