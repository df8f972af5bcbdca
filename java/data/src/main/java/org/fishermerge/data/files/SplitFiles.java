package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The files of one split.
 *
 * @param files in the order in which they are read, at least one
 * @param classes the class names that pictures have by the folders they lie in; empty where no
 *     folder says a class
 * @param classNames the names that the data set's card states for the classes of a column, by
 *     column
 */
public record SplitFiles(
    Format format, List<Path> files, List<String> classes, Map<String, List<String>> classNames) {
  /** What the files are. */
  public enum Format {
    /** Tables with pictures or texts in them. */
    PARQUET,

    /**
     * Tables too, behind {@code state.json} and {@code dataset_info.json} where there are these.
     */
    ARROW,

    /** One safetensors file of tensors that models take as they are. */
    TENSORS,

    /** A file for each picture, and metadata.csv or metadata.jsonl where there is one. */
    PICTURES;

    /** Whether the files have rows and columns. */
    public boolean isTable() {
      return this == PARQUET || this == ARROW;
    }
  }

  public SplitFiles {
    files = List.copyOf(files);
    classes = List.copyOf(classes);
    classNames = Map.copyOf(classNames);
  }

  /** Of which no card says anything. */
  public SplitFiles(Format format, List<Path> files, List<String> classes) {
    this(format, files, classes, Map.of());
  }
}
