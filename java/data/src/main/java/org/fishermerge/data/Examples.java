package org.fishermerge.data;

import java.util.List;
import java.util.Optional;

/** A data set of examples, with or without labels; what an example is, is not said here. */
public interface Examples {
  /** The label of an example that has none; data sets without labels store it themselves. */
  long NO_LABEL = -1;

  /** Number of examples, at least one. */
  long size();

  /** Whether the examples have labels. */
  boolean labelled();

  /**
   * The label of every example, in stored order, read without the examples; {@link #NO_LABEL} where
   * it is null. Nothing is held against any model.
   *
   * @throws org.fishermerge.checkpoint.InputException if there are none, with what there is
   *     instead, or they cannot be read
   */
  long[] labels();

  /**
   * The names that the data itself states for its labels: label k is called by the k-th. Empty if
   * it states none.
   */
  default Optional<List<String>> classNames() {
    return Optional.empty();
  }

  /**
   * Whether labels are stored as names alone. They are then numbered in order of the names that
   * occur, which {@link #classNames} gives, and these numbers mean nothing to any model. Finding
   * them takes reading the labels.
   */
  default boolean labelsAreNames() {
    return false;
  }

  /** How messages name a row: its file and where it is in there. */
  String where(long row);

  /** What the data is, without the folders it lies in: for example {@code eurosat#train}. */
  String description();
}
