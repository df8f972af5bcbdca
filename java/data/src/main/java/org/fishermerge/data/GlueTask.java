package org.fishermerge.data;

import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;

/**
 * The tasks of GLUE (Wang et al., 2018) that classify, as the data set {@code nyu-mll/glue} stores
 * them: one configuration for each task, with an integer column {@code label}.
 */
public enum GlueTask {
  COLA(2, "sentence"),
  MNLI(3, "premise", "hypothesis"),
  MRPC(2, "sentence1", "sentence2"),
  QNLI(2, "question", "sentence"),
  QQP(2, "question1", "question2"),
  RTE(2, "sentence1", "sentence2"),
  SST2(2, "sentence");

  /** The split that every task is trained on. */
  public static final String TRAIN_SPLIT = "train";

  private final int classes;
  private final List<String> columns;

  GlueTask(int classes, String... columns) {
    this.classes = classes;
    this.columns = List.of(columns);
  }

  /**
   * By its name, for example {@code sst2}.
   *
   * @throws InputException for any other name
   */
  public static GlueTask named(String name) {
    return Arrays.stream(values())
        .filter(task -> task.text().equals(name))
        .findFirst()
        .orElseThrow(() ->
            new InputException(
                "\"%s\" is not a GLUE task; expected %s"
                    .formatted(
                        name,
                        Arrays.stream(values())
                            .map(GlueTask::text)
                            .collect(Collectors.joining(", ")))));
  }

  /**
   * The columns of the texts of a data set with these columns, those of the first text first; empty
   * if it is none of GLUE's.
   *
   * @param names what columns are called
   */
  static Optional<List<String>> textColumns(Collection<String> present, Columns names) {
    Set<String> given = names.names().keySet();
    // Pairs first: qnli's second text has the name of cola's only one. But texts that the user
    // names are those that are meant.
    return Arrays.stream(values())
        .map(GlueTask::columns)
        .filter(columns -> columns.stream().map(names::of).allMatch(present::contains))
        .max(
            Comparator.comparingLong(
                    (List<String> columns) -> columns.stream().filter(given::contains).count())
                .thenComparingInt(List::size))
        .map(columns -> columns.stream().map(names::of).toList());
  }

  /** The name, which is also that of the configuration. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Classes of the label. */
  public int classes() {
    return classes;
  }

  /** The columns of the text or of the two texts, in the order in which they are joined. */
  public List<String> columns() {
    return columns;
  }

  /** The split with labels that models are compared on. */
  public String evaluationSplit() {
    return this == MNLI ? "validation_matched" : "validation";
  }
}
