package org.fishermerge.cli.program;

import java.nio.file.Path;
import java.util.function.Consumer;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.estimate.ClassifierOnData;

/** Opens models of one family as classifiers of tasks, with data. */
interface ModelOpener {
  /**
   * Opens a model under a task's head on data, works with them, and closes them.
   *
   * @param files of the data, on this machine
   */
  void open(
      String task, Path model, DatasetId data, DataSource files, Consumer<ClassifierOnData> work);

  /** A hash of what logits depend on besides the model and the data. */
  String identity(String task);

  /**
   * Refuses a task that cannot be opened, and a model that does not fit, without reading weights.
   *
   * @param model to be classified with
   */
  void check(String task, Path model);
}
