package org.fishermerge.data;

import java.lang.foreign.MemorySegment;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** What {@link BatchIterator} needs of a data set on disk. */
abstract class StoredImages implements ImageDataset {
  final ImageProcessor processor;

  StoredImages(ImageProcessor processor) {
    this.processor = processor;
  }

  /**
   * Examples read from storage, still encoded. {@link #decode} may be called once per position, by
   * any thread.
   */
  interface Window {
    /**
     * Writes the processed picture at a position to F32 [3, height, width].
     *
     * @throws BadRowException if this one cannot be used
     */
    void decode(int position, MemorySegment out);
  }

  /** How many examples may be held at a time, encoded. */
  abstract long windowExamples();

  /**
   * Reads examples, in storage order, whatever the order asked for.
   *
   * @param cancelled asked now and then; when true the result is not needed any more
   */
  abstract Window read(long[] indices, BooleanSupplier cancelled);

  @Override
  public boolean usesProcessor() {
    return true;
  }

  @Override
  public BatchIterator batches(
      long[] rows, int batchSize, int workers, Consumer<BadRowException> bad) {
    return new BatchIterator(this, rows, batchSize, workers, bad);
  }
}
