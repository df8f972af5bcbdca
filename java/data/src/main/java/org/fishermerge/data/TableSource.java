package org.fishermerge.data;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.SplitFiles;
import org.fishermerge.data.files.SplitFiles.Format;

/**
 * Tables whose rows follow each other.
 *
 * @param format {@link Format#PARQUET} or {@link Format#ARROW}
 * @param files in order, at least one
 * @param description for messages and Fisher files
 * @param classNames the names that the data set's card states for the classes of a column, by
 *     column
 */
public record TableSource(
    Format format, List<Path> files, String description, Map<String, List<String>> classNames) {
  /** Refuses what are no tables. */
  public TableSource {
    files = List.copyOf(files);
    classNames = Map.copyOf(classNames);
    if (!format.isTable()) {
      throw new IllegalArgumentException("no tables: " + format);
    }
  }

  /** Of a source whose splits are tables. */
  static TableSource of(DataSource source) {
    SplitFiles first = source.splits().getFirst();
    return new TableSource(
        first.format(), source.files(), source.description(), first.classNames());
  }
}
