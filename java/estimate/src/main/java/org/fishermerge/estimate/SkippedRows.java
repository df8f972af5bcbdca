package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BadRowException;

/** The rows of one data set that were left out. For one thread. */
public final class SkippedRows implements Consumer<BadRowException> {
  private static final int SAID = 5;
  private static final int REPORTED = 100;

  private final BadRows rule;
  private final Consumer<String> warnings;
  private final List<BadRowException> first = new ArrayList<>();
  private long asked = Long.MAX_VALUE;
  private long count;

  /**
   * @param warnings told of the first rows that are left out
   */
  public SkippedRows(BadRows rule, Consumer<String> warnings) {
    this.rule = rule;
    this.warnings = warnings;
  }

  /** Sets the number of rows that a run is to take. */
  public void of(long rows) {
    asked = rows;
  }

  boolean mayBe() {
    return rule.most(asked) > 0;
  }

  /**
   * Takes a row that cannot be used.
   *
   * @throws InputException if it is one too many
   */
  @Override
  public void accept(BadRowException row) {
    long most = rule.most(asked);
    if (most == 0) {
      throw new InputException(row.getMessage() + "; --bad-rows skip leaves such rows out", row);
    }
    count++;
    if (count > most) {
      throw new InputException(
          "more than %d of %d rows cannot be used, the first: %s; --bad-rows skip (bad_rows=skip in a"
                  .formatted(most, asked, first.getFirst().getMessage())
              + " configuration) leaves out any number of them",
          row);
    }
    if (count <= REPORTED) {
      first.add(row);
    }
    if (count <= SAID) {
      warnings.accept("left out " + row.getMessage());
    } else if (count == SAID + 1) {
      warnings.accept("left out more such rows, which are not named");
    }
  }

  /** Takes a row whose label is none of the model's classes. */
  void acceptOtherLabel(BadRowException row) {
    if (!rule.anyLabel()) {
      throw new InputException(row.getMessage() + "; --bad-rows skip leaves such rows out", row);
    }
    accept(row);
  }

  /** Refuses a run that has no row left. */
  void requireSome(long left) {
    if (left == 0 && count > 0) {
      throw new InputException(
          "none of %d rows can be used, the first: %s"
              .formatted(count, first.getFirst().getMessage()));
    }
  }

  public long count() {
    return count;
  }

  /** What a result line adds; empty if all rows were used. */
  public String text() {
    return count == 0 ? "" : ", %d %s left out".formatted(count, count == 1 ? "row" : "rows");
  }

  /** The first rows that were left out, a hundred at most. */
  public List<BadRowException> first() {
    return List.copyOf(first);
  }
}
