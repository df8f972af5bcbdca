package org.fishermerge.cli.task;

import java.util.function.LongConsumer;
import org.fishermerge.torch.Accuracy;

/** Accuracy and loss of a classifier on the rows of its data. */
public final class Evaluation {
  private Evaluation() {}

  /**
   * Classifies labelled rows and scores them.
   *
   * @param also given every batch's logits
   * @param progress told of the number of rows classified
   */
  public static Accuracy run(
      ClassifierTask task, long[] rows, int batchSize, LogitsWork also, LongConsumer progress) {
    task.requireLabels("accuracy");
    Accuracy accuracy = new Accuracy();
    task.classify(
        rows,
        batchSize,
        (logits, labels) -> {
          accuracy.add(logits, labels);
          also.take(logits, labels);
        },
        progress);
    return accuracy;
  }
}
