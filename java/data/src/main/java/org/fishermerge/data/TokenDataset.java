package org.fishermerge.data;

import java.util.List;

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

  /** Closes the files. */
  @Override
  void close();
}
