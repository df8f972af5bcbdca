package org.fishermerge.data;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.data.LabelMap.Matching;
import org.jspecify.annotations.Nullable;

/**
 * A data set as examples for one model: its labels are the model's classes. Whatever chooses
 * examples by label, or compares labels with predictions, goes by these.
 */
public final class MatchedExamples implements Examples {
  private final Examples data;
  private final int classes;
  private final Optional<List<String>> names;
  private final Matching matching;
  private final LabelMap.Where where;
  private @Nullable LabelMap map;
  private long @Nullable [] labels;

  /**
   * Compares the classes that the data states with those of the model.
   *
   * @param classes the number of the model's classes
   * @param names of them, if they are known
   * @param origin where these are from, for messages
   * @param remarks told what the user should know about the comparison
   * @throws org.fishermerge.checkpoint.InputException if they do not go together
   */
  public MatchedExamples(
      Examples data,
      int classes,
      Optional<List<String>> names,
      String origin,
      Matching matching,
      Consumer<String> remarks) {
    this.data = data;
    this.classes = classes;
    this.names = names;
    this.matching = matching;
    this.where = new LabelMap.Where(data.description(), origin);
    if (!data.labelsAreNames()) {
      map().remark().ifPresent(remarks);
    }
  }

  private LabelMap map() {
    LabelMap known = map;
    if (known == null) {
      known =
          LabelMap.of(data.classNames(), data.labelsAreNames(), names, classes, matching, where);
      map = known;
    }
    return known;
  }

  @Override
  public long size() {
    return data.size();
  }

  @Override
  public boolean labelled() {
    return data.labelled();
  }

  /**
   * The class of every example, in stored order; {@link #NO_LABEL} where it has none, and a number
   * that is no class where the label is none of the model's.
   */
  @Override
  public long[] labels() {
    long[] known = labels;
    if (known == null) {
      known = Arrays.stream(data.labels()).map(map()::of).toArray();
      labels = known;
    }
    return known;
  }

  /** What is wrong with the label of a row that has one; empty if it is one of the classes. */
  public Optional<String> labelProblem(long row) {
    long label = labels()[Math.toIntExact(row)];
    return label >= 0 && label < classes
        ? Optional.empty()
        : Optional.of(
            "label %d; expected 0 to %d: data and classes belong to different tasks"
                .formatted(data.labels()[Math.toIntExact(row)], classes - 1));
  }

  @Override
  public String where(long row) {
    return data.where(row);
  }

  @Override
  public String description() {
    return data.description();
  }
}
