package org.fishermerge.cli.program;

import java.nio.file.Path;
import java.util.List;

/** Where models and data come from, by the names that configurations have for them. */
public interface Repositories {
  /**
   * The folder of a model.
   *
   * @throws org.fishermerge.checkpoint.InputException if there is no such model
   */
  Path model(String id);

  /**
   * The files of a split, in order: Parquet, or one safetensors file.
   *
   * @throws org.fishermerge.checkpoint.InputException if there is no such data set or split
   */
  List<Path> dataset(DatasetId dataset);
}
