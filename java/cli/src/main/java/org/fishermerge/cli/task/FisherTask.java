package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.Examples;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.jspecify.annotations.Nullable;

/** A classifier and the examples that it is run on, whatever they are. */
public interface FisherTask {
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
  default long[] inRunOrder(long[] rows, LabelExpectation rule) {
    return rows;
  }

  /**
   * Runs rows of the data forward in batches, in order.
   *
   * @param batchSize rows of a batch, at most; unless {@code rule} is defined by batches, a task
   *     may take fewer
   */
  void forEachBatch(long[] rows, int batchSize, LabelExpectation rule, BatchWork work);

  /** Runs rows of the data forward as one batch. */
  ForwardPass forward(long[] rows);

  /** Accumulates rows of the data. */
  default void accumulate(
      long[] rows,
      int batchSize,
      LabelExpectation rule,
      FisherEstimator estimator,
      LongConsumer progress) {
    forEachBatch(
        rows,
        batchSize,
        rule,
        (pass, labels) -> {
          estimator.add(pass, labels);
          progress.accept(estimator.examples());
        });
  }

  /** The labels of rows; null where there are none. */
  default long @Nullable [] labels(long[] rows) {
    if (!examples().labelled()) {
      return null;
    }
    long[] all = examples().labels();
    return Arrays.stream(rows).map(row -> all[Math.toIntExact(row)]).toArray();
  }

  /** Whatever the task has to find out before rows are run, and to say about it. */
  default void prepare(long[] rows, Kernels kernels, PrintWriter err) {}

  /** What is to be said about an estimate. */
  default void remark(FisherEstimator estimator, PrintWriter err) {}

  /** Writes an estimate as a Fisher file. */
  void write(FisherEstimator estimator, Path file, FisherMetadata metadata);

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
