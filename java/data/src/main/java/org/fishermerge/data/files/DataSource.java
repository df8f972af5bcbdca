package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.ToLongFunction;

/**
 * What the name of a data set stands for: files of splits, and which of their rows are meant.
 *
 * @param parts in reading order, at least one
 * @param description what the data is, without the folders it lies in: {@code eurosat#train[:10%]}
 * @param warnings what is odd about the files but does not stop their use
 */
public record DataSource(List<Part> parts, String description, List<String> warnings) {
  /** A part of a split. */
  public record Part(SplitFiles split, SplitSlice slice) {}

  public DataSource {
    parts = List.copyOf(parts);
    warnings = List.copyOf(warnings);
  }

  /** Parquet files that are taken whole. */
  public static DataSource parquet(List<Path> files, String description) {
    return tables(SplitFiles.Format.PARQUET, files, description);
  }

  /** Files of tables that are taken whole. */
  static DataSource tables(SplitFiles.Format format, List<Path> files, String description) {
    SplitFiles split = new SplitFiles(format, files, List.of());
    return new DataSource(
        List.of(new Part(split, SplitSlice.whole(NamingRules.TRAIN))), description, List.of());
  }

  /** The splits that there is anything of, each once. */
  public List<SplitFiles> splits() {
    Set<SplitFiles> distinct = new LinkedHashSet<>();
    parts.forEach(part -> distinct.add(part.split()));
    return List.copyOf(distinct);
  }

  /** All files, each once. */
  public List<Path> files() {
    Set<Path> distinct = new LinkedHashSet<>();
    parts.forEach(part -> distinct.addAll(part.split().files()));
    return List.copyOf(distinct);
  }

  /** Whether it is every row of {@link #splits}, in order. */
  public boolean isWhole() {
    return parts.size() == splits().size()
        && parts.stream().allMatch(part -> part.slice().isWhole());
  }

  /**
   * The rows that are meant, counted through all of {@link #splits}.
   *
   * @param size how many rows a split has
   */
  public List<SplitSlice.Range> ranges(ToLongFunction<SplitFiles> size) {
    List<SplitFiles> splits = splits();
    long[] firsts = new long[splits.size() + 1];
    for (int i = 0; i < splits.size(); i++) {
      firsts[i + 1] = firsts[i] + size.applyAsLong(splits.get(i));
    }
    List<SplitSlice.Range> ranges = new ArrayList<>();
    for (Part part : parts) {
      int split = splits.indexOf(part.split());
      SplitSlice.Range range = part.slice().of(firsts[split + 1] - firsts[split]);
      ranges.add(new SplitSlice.Range(firsts[split] + range.first(), firsts[split] + range.end()));
    }
    return ranges;
  }
}
