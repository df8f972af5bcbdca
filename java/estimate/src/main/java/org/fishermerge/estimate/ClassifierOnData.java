package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.LongConsumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.arch.ZeroShotHead;

/** A classifier on data that can also be measured, without keeping what a Fisher needs. */
public interface ClassifierOnData extends ModelOnData {
  /**
   * Classifies labelled rows of the data and hands them out in batches, in order.
   *
   * @param skipped told of rows that cannot be read, which are left out
   * @param progress told of the number of rows classified
   */
  void classify(
      long[] rows, int batchSize, LogitsWork work, SkippedRows skipped, LongConsumer progress);

  /** The file or folder that the classifier's backbone was loaded from. */
  Checkpoint model();

  @Override
  default void write(FisherEstimator estimator, Path file, StatisticMetadata metadata) {
    estimator.write(file, model(), metadata);
  }

  @Override
  default String modelSha256() {
    return model().tensorSha256();
  }

  @Override
  default String modelFingerprint() {
    return model().fingerprint();
  }

  /** The head that was built or read for the run, where that is no part of the model. */
  default Optional<ZeroShotHead> zeroShotHead() {
    return Optional.empty();
  }
}
