package org.fishermerge.estimate;

import java.util.function.LongConsumer;
import org.fishermerge.torch.Accuracy;

/** Accuracy and loss of a classifier on the rows of its data. */
public final class Evaluation {
  private Evaluation() {}

  /**
   * Classifies labelled rows and scores them.
   *
   * @param also given every batch's logits
   * @param skipped told of rows that cannot be used, which are left out
   * @param progress told of the number of rows classified
   */
  public static Accuracy run(
      ClassifierOnData onData,
      long[] rows,
      int batchSize,
      LogitsWork also,
      SkippedRows skipped,
      LongConsumer progress) {
    onData.requireLabels("accuracy");
    skipped.of(rows.length);
    Accuracy accuracy = new Accuracy();
    onData.classify(
        onData.withLabels(rows, skipped),
        batchSize,
        (logits, labels) -> {
          accuracy.add(logits, labels);
          also.take(logits, labels);
        },
        skipped,
        progress);
    skipped.requireSome(accuracy.examples());
    return accuracy;
  }
}
