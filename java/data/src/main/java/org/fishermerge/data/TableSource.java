package org.fishermerge.data;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.data.files.SplitFiles.Format;

/**
 * Tables whose rows follow each other.
 *
 * @param format {@link Format#PARQUET} or {@link Format#ARROW}
 * @param files in order, at least one
 * @param description for messages and Fisher files
 */
public record TableSource(Format format, List<Path> files, String description) {
  /** Refuses what are no tables. */
  public TableSource {
    files = List.copyOf(files);
    if (!format.isTable()) {
      throw new IllegalArgumentException("no tables: " + format);
    }
  }
}
