package org.fishermerge.data;

import java.util.function.Consumer;

/** A data set of pictures, with or without labels. */
public interface ImageDataset extends Examples, AutoCloseable {
  /** Reads the selected examples in batches: {@link #batches(long[], int, int)} of its rows. */
  default BatchIterator batches(Selection selection, int batchSize, int workers) {
    return batches(selection.rows(this), batchSize, workers);
  }

  /** Reads some examples in batches, where one bad row is too many. */
  default BatchIterator batches(long[] rows, int batchSize, int workers) {
    return batches(
        rows,
        batchSize,
        workers,
        row -> {
          throw row;
        });
  }

  /**
   * Reads some examples in batches, in the same order for any number of workers.
   *
   * @param rows which examples, by their place in the data set
   * @param batchSize examples per batch; the last one may be short, and those with bad rows are
   * @param workers threads that read and decode ahead of the caller; 0 does it all on the caller's
   * @param bad told, on the caller's thread and in order, of each row that cannot be used; what it
   *     throws ends the reading
   * @return to be closed by the caller, before the data set
   */
  BatchIterator batches(long[] rows, int batchSize, int workers, Consumer<BadRowException> bad);

  /** Whether pictures go through the image processor; not if they are stored as its results. */
  boolean usesProcessor();

  /** Closes the files. */
  @Override
  void close();
}
