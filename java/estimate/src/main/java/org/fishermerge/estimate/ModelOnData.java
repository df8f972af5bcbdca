package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.data.BadRowException;
import org.fishermerge.data.Examples;
import org.fishermerge.data.MatchedExamples;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.objective.Objective;
import org.jspecify.annotations.Nullable;

/** A classifier and the examples that it is run on, whatever they are. */
public interface ModelOnData {
  Classifier classifier();

  Examples examples();

  /**
   * The memory that a run takes, from a trial with the first of its rows; empty where that cannot
   * be told.
   *
   * @param estimators makes estimators like that of the run, one of which is used and closed
   * @param atOnce estimators of the run that live at the same time
   * @param tried examples of the trial, at most
   */
  Optional<MemoryPlan> memoryPlan(
      long[] rows, Supplier<FisherEstimator> estimators, int atOnce, int tried);

  /**
   * The order in which chosen rows are best run: that of the selection, unless batches of rows that
   * are alike cost less. What an example draws depends on its place in this order.
   */
  default long[] inRunOrder(long[] rows, Objective rule) {
    return rows;
  }

  /**
   * Hands out rows of the data in batches, in order.
   *
   * @param batchSize rows of a batch, at most; fewer may be taken, unless {@code rule} is defined
   *     by batches
   */
  void forEachBatch(long[] rows, int batchSize, Objective rule, BatchWork work);

  /** Runs rows of the data forward as one batch. */
  ForwardPass forward(long[] rows, ForwardPass.Wanted wanted);

  /** Accumulates rows of the data. */
  default void accumulate(
      long[] rows,
      int batchSize,
      Objective rule,
      FisherEstimator estimator,
      LongConsumer progress) {
    forEachBatch(
        rows,
        batchSize,
        rule,
        (batch, labels) -> {
          estimator.add(batch, labels);
          progress.accept(estimator.examples());
        });
  }

  /** The labels of rows; null where a rule needs none. */
  default long @Nullable [] labels(long[] rows, Objective rule) {
    return rule.needsLabels() ? labels(rows) : null;
  }

  /** The labels of rows of labelled data. */
  default long[] labels(long[] rows) {
    long[] all = examples().labels();
    return Arrays.stream(rows).map(row -> all[Math.toIntExact(row)]).toArray();
  }

  /**
   * Those of some rows that have a label which is one of the classes.
   *
   * @param skipped told of the others
   */
  default long[] withLabels(long[] rows, SkippedRows skipped) {
    long[] all = examples().labels();
    if (Arrays.stream(all).allMatch(label -> label == Examples.NO_LABEL)) {
      throw new InputException(
          "%s: the labels are all -1 or null: this split has no labels; take one that has some, such"
                  .formatted(examples().description())
              + " as validation");
    }
    LongStream.Builder kept = LongStream.builder();
    for (long row : rows) {
      if (all[Math.toIntExact(row)] == Examples.NO_LABEL) {
        skipped.accept(
            new BadRowException(row, examples().where(row), "it has no label (-1 or null)"));
        continue;
      }
      Optional<String> problem =
          examples() instanceof MatchedExamples known ? known.labelProblem(row) : Optional.empty();
      if (problem.isPresent()) {
        skipped.acceptOtherLabel(new BadRowException(row, examples().where(row), problem.get()));
      } else {
        kept.add(row);
      }
    }
    return kept.build().toArray();
  }

  /**
   * Those of some rows that can be run, found by reading them.
   *
   * @param skipped told of the others
   */
  default long[] readable(long[] rows, SkippedRows skipped) {
    return rows;
  }

  /**
   * Whatever has to be found out before rows are run, and to be said about it.
   *
   * @param warnings told of what may be wrong
   */
  default void prepare(
      long[] rows, Kernels kernels, Consumer<String> remarks, Consumer<String> warnings) {}

  /** What is to be said about an estimate. */
  default void remark(FisherEstimator estimator, Consumer<String> remarks) {}

  /** Writes an estimate as a Fisher file. */
  void write(FisherEstimator estimator, Path file, StatisticMetadata metadata);

  /** {@link org.fishermerge.checkpoint.Checkpoint#tensorSha256} of the model. */
  String modelSha256();

  /** {@link org.fishermerge.checkpoint.Checkpoint#fingerprint} of the model. */
  String modelFingerprint();

  /** Refuses data without labels on behalf of {@code whatNeedsThem}. */
  default void requireLabels(String whatNeedsThem) {
    if (!examples().labelled()) {
      throw new InputException(
          examples().description() + ": has no labels, and " + whatNeedsThem + " needs them");
    }
  }
}
