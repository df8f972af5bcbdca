package org.fishermerge.data.files;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.NameList;
import org.jspecify.annotations.Nullable;

/** Finds data on this machine by the names that options have for it. */
public final class LocalData {
  private static final String TENSORS = ".safetensors";
  private static final Pattern WILD = Pattern.compile("[*?\\[]");
  private static final int NAMES_SHOWN = 5;

  private LocalData() {}

  /**
   * A name and what follows its {@code #}.
   *
   * @param configuration null for the default
   * @param split null for the only one
   */
  public record Named(String name, @Nullable String configuration, @Nullable String split) {
    /** Reads {@code NAME}, {@code NAME#SPLIT} or {@code NAME#CONFIGURATION/SPLIT}. */
    public static Named parse(String text) {
      int hash = text.lastIndexOf('#');
      if (hash < 0) {
        return new Named(text, null, null);
      }
      String behind = text.substring(hash + 1);
      int slash = behind.lastIndexOf('/');
      String split = behind.substring(slash + 1);
      return new Named(
          text.substring(0, hash),
          slash < 0 ? null : behind.substring(0, slash),
          split.isEmpty() ? null : split);
    }
  }

  /**
   * What a folder of Parquet or Arrow files or pictures, a {@code FILE.parquet} or a pattern of
   * such files names, with {@code #[CONFIGURATION/]SPLIT} behind it or without; empty for anything
   * else.
   *
   * @throws InputException if it is there, but not as described
   */
  public static Optional<DataSource> find(String text) {
    Path whole = path(text);
    if (whole != null && Files.exists(whole)) {
      return of(whole, new Named(text, null, null));
    }
    Named named = Named.parse(text);
    Path path = path(named.name());
    if (path != null && Files.exists(path)) {
      return of(path, named);
    }
    return WILD.matcher(named.name()).find() ? pattern(named) : Optional.empty();
  }

  private static @Nullable Path path(String text) {
    try {
      return text.isEmpty() ? null : Path.of(text);
    } catch (InvalidPathException e) {
      return null;
    }
  }

  private static Optional<DataSource> of(Path path, Named named) {
    if (Files.isDirectory(path)) {
      return Optional.of(
          new DatasetSplit(named.name(), named.configuration(), named.split()).inFolder(path));
    }
    String name = Objects.toString(path.getFileName(), "");
    Optional<SplitFiles.Format> format = name.endsWith(TENSORS) ? Optional.empty() : table(name);
    format.ifPresent(any -> InputFiles.requireRegular(path));
    return format.map(known -> single(known, List.of(path), name, named));
  }

  /** A file that a configuration names in place of a data set. */
  public static DataSource file(Path path, DatasetSplit split) {
    String name = Objects.toString(path.getFileName(), "");
    if (name.endsWith(TENSORS)) {
      SplitFiles tensors = new SplitFiles(SplitFiles.Format.TENSORS, List.of(path), List.of());
      return new DataSource(
          List.of(new DataSource.Part(tensors, SplitSlice.whole(NamingRules.TRAIN))),
          name,
          List.of());
    }
    return of(path, new Named(path.toString(), null, null))
        .orElseThrow(() ->
            new InputException(
                path + ": is no data; expected a .parquet, .arrow or .safetensors file"));
  }

  /** The format of a table of that name; empty if it is none. */
  private static Optional<SplitFiles.Format> table(String name) {
    return FileKind.of(List.of(name)).flatMap(FileKind::format).filter(SplitFiles.Format::isTable);
  }

  /** Files that are named themselves are split train, as {@code data_files} of Python has it. */
  private static DataSource single(
      SplitFiles.Format format, List<Path> files, String description, Named named) {
    DataSource whole = DataSource.tables(format, files, description);
    if (named.split() == null) {
      return whole;
    }
    List<DataSource.Part> parts = new ArrayList<>();
    for (SplitSlice slice : SplitSlice.parse(named.split())) {
      if (!slice.split().equals(NamingRules.TRAIN)) {
        throw new InputException(
            "%s: there is no split '%s'; a file that is named itself is split %s"
                .formatted(named.name(), slice.split(), NamingRules.TRAIN));
      }
      parts.add(new DataSource.Part(whole.splits().getFirst(), slice));
    }
    return new DataSource(parts, description + "#" + named.split(), List.of());
  }

  private static Optional<DataSource> pattern(Named named) {
    String text = named.name();
    int wild = text.length();
    for (int i = text.length() - 1; i >= 0; i--) {
      wild = "*?[".indexOf(text.charAt(i)) >= 0 ? i : wild;
    }
    int slash = text.lastIndexOf('/', wild);
    Path folder = path(slash < 0 ? "." : text.substring(0, Math.max(1, slash)));
    if (folder == null || !Files.isDirectory(folder)) {
      return Optional.empty();
    }
    LocalFiles local = new LocalFiles(folder);
    List<String> names =
        NamingRules.matching(text.substring(slash + 1), local.names()).stream()
            .filter(FileKind::isData)
            .toList();
    Optional<SplitFiles.Format> format =
        names.isEmpty() ? Optional.empty() : table(names.getFirst());
    if (format.isEmpty() || !names.stream().map(LocalData::table).allMatch(format::equals)) {
      throw new InputException(
          "%s: %s"
              .formatted(
                  text,
                  names.isEmpty()
                      ? "no .parquet or .arrow file has such a name"
                      : "patterns name .parquet or .arrow files alone, of one kind: "
                          + NameList.of(names, NAMES_SHOWN)));
    }
    return Optional.of(
        single(
            format.get(),
            names.stream().map(local::fetch).toList(),
            text.substring(text.lastIndexOf('/') + 1),
            named));
  }
}
