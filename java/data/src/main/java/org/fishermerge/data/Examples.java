package org.fishermerge.data;

/** A data set of examples, with or without labels; what an example is, is not said here. */
public interface Examples {
  /** Number of examples, at least one. */
  long size();

  /** Whether the examples have labels. */
  boolean labelled();

  /**
   * The label of every example, in stored order, read without the examples.
   *
   * @throws org.fishermerge.checkpoint.InputException if there are none, with what there is
   *     instead, or they cannot be read
   */
  long[] labels();

  /** What the data is, without the folders it lies in: for example {@code eurosat#train}. */
  String description();
}
