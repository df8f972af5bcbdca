package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The files that a data set's name means, by their names in the folder or repository.
 *
 * @param parts in reading order; empty where the files are of a kind that is not read
 * @param warnings what is odd about the files but does not stop their use
 * @param unread what the files are instead, if there are no parts
 */
public record SplitChoice(List<Part> parts, List<String> warnings, String unread) {
  /** A part of a split; the names are those of all its files. */
  record Part(
      SplitFiles.Format format,
      List<String> names,
      List<String> classes,
      Map<String, List<String>> classNames,
      SplitSlice slice) {}

  public SplitChoice {
    parts = List.copyOf(parts);
    warnings = List.copyOf(warnings);
  }

  /** Whether all of it can be read from Parquet files. */
  public boolean isParquet() {
    return !parts.isEmpty()
        && parts.stream().allMatch(part -> part.format == SplitFiles.Format.PARQUET);
  }

  /** Names of all files, each once. */
  public List<String> names() {
    Set<String> distinct = new LinkedHashSet<>();
    parts.forEach(part -> distinct.addAll(part.names));
    return List.copyOf(distinct);
  }

  /**
   * The same with the files where they are on this machine.
   *
   * @param files in the order of {@link #names}
   * @param set the data set's name for descriptions: {@code eurosat}
   */
  public DataSource at(List<Path> files, String set) {
    Map<String, Path> places = new LinkedHashMap<>();
    List<String> names = names();
    for (int i = 0; i < names.size(); i++) {
      places.put(names.get(i), files.get(i));
    }
    List<DataSource.Part> found = new ArrayList<>();
    for (Part part : parts) {
      List<Path> paths = new ArrayList<>();
      for (String name : part.names) {
        Path path = places.get(name);
        if (path == null) {
          throw new IllegalStateException("not fetched: " + name);
        }
        paths.add(path);
      }
      found.add(
          new DataSource.Part(
              new SplitFiles(part.format, paths, part.classes, part.classNames), part.slice));
    }
    return new DataSource(
        found,
        set + "#" + String.join("+", parts.stream().map(part -> part.slice.toString()).toList()),
        warnings);
  }
}
