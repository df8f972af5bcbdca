package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.LongConsumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Network;

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

  /** The network under the head. */
  Network<?> backbone();

  /**
   * The same head and examples on another task's backbone, which stays that one's. Frees the
   * weights of this one's own, so that it cannot be used any more.
   *
   * @throws InputException if that is another kind of network
   */
  ClassifierOnData onBackboneOf(ClassifierOnData other);

  /** What {@link #onBackboneOf} says of networks of different kinds. */
  static InputException otherKind(ClassifierOnData one, ClassifierOnData other) {
    return new InputException(
        "%s and %s are networks of different kinds, which cannot be merged"
            .formatted(one.model().path(), other.model().path()));
  }

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
