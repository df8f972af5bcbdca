package org.fishermerge.data;

import java.util.List;
import java.util.Optional;

/**
 * Some rows of a data set, numbered from 0: what they have in common with all of its rows, whatever
 * an example is.
 */
interface SlicedExamples extends Examples {
  /** The data set of which these are some rows; closed with them. */
  Examples all();

  /** Which rows. */
  RowRanges ranges();

  @Override
  default long size() {
    return ranges().size();
  }

  @Override
  default boolean labelled() {
    return all().labelled();
  }

  @Override
  default long[] labels() {
    return ranges().select(all().labels());
  }

  @Override
  default Optional<List<String>> classNames() {
    return all().classNames();
  }

  @Override
  default boolean labelsAreNames() {
    return all().labelsAreNames();
  }

  @Override
  default String where(long row) {
    return all().where(ranges().row(row));
  }
}
