package org.fishermerge.estimate;

import java.util.Collections;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.data.Selection;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/**
 * How the statistics of a model are estimated.
 *
 * @param rule how labels are averaged over; {@link Objective#none} where nothing that is estimated
 *     depends on labels, whatever is given
 * @param order which examples; null is that of the rule
 * @param examples how many
 * @param seed of the selection and of drawn labels
 * @param batchSize examples per forward pass, or {@link BatchSize#AUTO}
 * @param atMost what auto does not go beyond
 * @param check whether two batch sizes are compared first
 * @param precision what models are multiplied in, wherever they run
 * @param statistics what is estimated, all in the same passes
 * @param badRows what becomes of rows that cannot be used
 * @param spelling how messages name a setting
 */
public record EstimationSettings(
    Objective rule,
    @Nullable Order order,
    ExampleCount examples,
    long seed,
    String batchSize,
    int atMost,
    boolean check,
    Precision precision,
    Set<StatisticKind> statistics,
    BadRows badRows,
    Spelling spelling) {
  /** The rule unless another is asked for. */
  public static final String DEFAULT_LABELS = "adaptive:2";

  /** How many examples unless that is said. */
  public static final long DEFAULT_EXAMPLES = 256;

  /** Which examples. */
  public enum Order {
    FIRST,
    SHUFFLED,
    STRATIFIED;

    Selection selection(long count, long seed) {
      return switch (this) {
        case FIRST -> new Selection.First(count);
        case SHUFFLED -> new Selection.Shuffled(count, seed);
        case STRATIFIED -> new Selection.Stratified(count, seed);
      };
    }

    /** As on the command line and in Fisher files. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** How a user writes that a setting has a value; a switch has an empty one. */
  public interface Spelling {
    String of(String setting, String value);
  }

  /**
   * Checks the settings themselves.
   *
   * @throws InputException if one of them is out of range or two contradict each other
   */
  public EstimationSettings {
    statistics = Collections.unmodifiableSet(EnumSet.copyOf(statistics));
    if (!StatisticKind.anyDependsOnLabels(statistics)) {
      rule = Objective.none();
    }
    if (examples.most() < 1) {
      throw new InputException(spelling.of("examples", examples.text() + ": must be at least 1"));
    }
    if (examples.isAuto() && rule.squaresBatches()) {
      throw new InputException(
          spelling.of("examples", examples.text())
              + ": the error of "
              + spelling.of("labels", rule.text())
              + " does not fall with more examples; give a number of them");
    }
    BatchSize.check(batchSize, spelling);
    if (statistics.contains(StatisticKind.KRONECKER) && rule.squaresBatches()) {
      throw new InputException(
          spelling.of("labels", rule.text())
              + ": squares the gradient of a batch, and has no Kronecker factors; choose another"
              + " rule, such as "
              + DEFAULT_LABELS);
    }
    if (check && rule.squaresBatches()) {
      throw new InputException(
          spelling.of("check", "")
              + ": the estimate of "
              + spelling.of("labels", rule.text())
              + " depends on the batch size by definition; leave the check out");
    }
  }

  /** Which examples, with the default of the rule: FusionBench takes the first rows. */
  public Order chosenOrder() {
    return order != null ? order : rule.squaresBatches() ? Order.FIRST : Order.SHUFFLED;
  }
}
