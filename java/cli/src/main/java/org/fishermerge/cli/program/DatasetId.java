package org.fishermerge.cli.program;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.Section;
import org.fishermerge.data.Columns;
import org.fishermerge.data.files.DatasetSplit;
import org.fishermerge.data.files.SplitSlice;
import org.fishermerge.data.hub.HubName;
import org.jspecify.annotations.Nullable;

/**
 * Splits of a data set, or parts of them.
 *
 * @param id on the hub, or a folder or file
 * @param configuration of a data set that has several; null for the default
 * @param splits as {@link SplitSlice#parse} reads them
 * @param columns what its columns are called
 */
record DatasetId(String id, @Nullable String configuration, String splits, Columns columns) {

  /** Where the data of GLUE's tasks is, each a configuration. */
  private static final String GLUE = "nyu-mll/glue";

  /**
   * Reads the entry of a task below {@code train_datasets} or {@code test_datasets}.
   *
   * @param defaultSplit for an entry that is a data set's name alone
   */
  static DatasetId of(Section datasets, String task, String defaultSplit) {
    Section node = datasets.sectionIfAny(task).orElse(null);
    if (node == null) {
      return new DatasetId(datasets.requiredText(task), null, defaultSplit, Columns.USUAL);
    }
    String where = datasets.path(task);
    Columns columns = columns(node);
    DatasetId dataset =
        switch (node.target()) {
          case "load_dataset" -> {
            List<String> positional = node.texts("_args_");
            String path = positional.isEmpty() ? node.requiredText("path") : positional.getFirst();
            String name =
                positional.size() > 1 ? positional.get(1) : node.text("name").orElse(null);
            yield new DatasetId(
                HubName.write(
                    path, node.text("revision").orElse(null), node.text("data_dir").orElse(null)),
                name,
                node.text("split").orElse(defaultSplit),
                columns);
          }
          case "load_gpt2_dataset" ->
              new DatasetId(
                  node.text("path").orElse(GLUE),
                  node.requiredText("name"),
                  node.text("split").orElse(defaultSplit),
                  columns);
          case String other ->
              throw new InputException(
                  where
                      + "._target_: "
                      + other
                      + " is not supported; give load_dataset with path and split, or the name of"
                      + " a data set or folder alone");
        };
    try {
      SplitSlice.parse(dataset.splits);
    } catch (InputException e) {
      throw new InputException(where + ".split: " + e.getMessage(), e);
    }
    node.done();
    return dataset;
  }

  /** As the data's files are looked for. */
  DatasetSplit split() {
    return new DatasetSplit(id, configuration, splits);
  }

  /** {@code columns: {label: fine_label}}, by usual name. */
  private static Columns columns(Section node) {
    Section columns = node.section("columns").orElse(null);
    if (columns == null) {
      return Columns.USUAL;
    }
    Map<String, String> names = new LinkedHashMap<>();
    columns.keys().forEach(usual -> names.put(usual, columns.requiredText(usual)));
    columns.done();
    return new Columns(names);
  }

  /** For messages, reports and Fisher files. */
  public String description() {
    return id + (configuration == null ? "" : "/" + configuration) + "#" + splits;
  }
}
