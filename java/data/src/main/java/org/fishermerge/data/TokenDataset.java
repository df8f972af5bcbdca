package org.fishermerge.data;

import java.util.List;
import java.util.OptionalLong;

/** A data set of texts as token ids, with or without labels. */
public interface TokenDataset extends Examples, AutoCloseable {
  /**
   * The token ids of some examples, without what an attention mask leaves out. Ids and lengths are
   * not held against any model.
   *
   * @param rows which examples, by their place in the data set
   * @throws org.fishermerge.checkpoint.InputException if one cannot be read, naming {@link #where}
   */
  List<long[]> texts(long[] rows);

  /** How messages name a row. */
  String where(long row);

  /** What the reference implementation fills texts up with, if these were tokenized here. */
  default OptionalLong padToken() {
    return OptionalLong.empty();
  }

  /** Sentences for the user about what is odd about the files but does not stop their use. */
  default List<String> warnings() {
    return List.of();
  }

  /** Closes the files. */
  @Override
  void close();
}
