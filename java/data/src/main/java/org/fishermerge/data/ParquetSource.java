package org.fishermerge.data;

import java.nio.file.Path;
import java.util.List;

/**
 * Parquet files whose rows follow each other.
 *
 * @param files in order, at least one
 * @param description for messages and Fisher files
 */
public record ParquetSource(List<Path> files, String description) {
  public ParquetSource {
    files = List.copyOf(files);
  }
}
