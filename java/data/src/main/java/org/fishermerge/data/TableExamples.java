package org.fishermerge.data;

import java.util.List;
import java.util.Optional;

/** Examples that are rows of tables: what they say of themselves, whatever an example is. */
interface TableExamples extends Examples {
  /** The rows, all of them. */
  TableRows rows();

  @Override
  default long size() {
    return rows().size();
  }

  @Override
  default boolean labelled() {
    return rows().labelled();
  }

  @Override
  default long[] labels() {
    return rows().labels();
  }

  @Override
  default Optional<List<String>> classNames() {
    return rows().classNames();
  }

  @Override
  default boolean labelsAreNames() {
    return rows().labelsAreNames();
  }

  @Override
  default String where(long row) {
    return rows().where(row);
  }

  @Override
  default String description() {
    return rows().description();
  }
}
