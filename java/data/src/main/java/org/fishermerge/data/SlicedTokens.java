package org.fishermerge.data;

import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** Some rows of texts, which have numbers of their own. Closing it closes these texts. */
record SlicedTokens(TokenDataset all, RowRanges ranges, String description)
    implements TokenDataset {
  @Override
  public long size() {
    return ranges.size();
  }

  @Override
  public boolean labelled() {
    return all.labelled();
  }

  @Override
  public long[] labels() {
    return ranges.select(all.labels());
  }

  @Override
  public Optional<List<String>> classNames() {
    return all.classNames();
  }

  @Override
  public boolean labelsAreNames() {
    return all.labelsAreNames();
  }

  @Override
  public List<long[]> texts(long[] rows, Consumer<BadRowException> bad) {
    long[] ofAll = ranges.rows(rows);
    int[] next = {0};
    return all.texts(
        ofAll,
        e -> {
          // They are told in order, so that a row that is meant twice is no riddle.
          while (ofAll[next[0]] != e.row()) {
            next[0]++;
          }
          bad.accept(new BadRowException(rows[next[0]++], e.where(), e.reason(), e));
        });
  }

  @Override
  public boolean complete() {
    return all.complete();
  }

  @Override
  public Optional<List<long[]>> types(long[] rows) {
    return all.types(ranges.rows(rows));
  }

  @Override
  public OptionalLong padToken() {
    return all.padToken();
  }

  @Override
  public List<String> warnings() {
    return all.warnings();
  }

  @Override
  public String where(long row) {
    return all.where(ranges.row(row));
  }

  @Override
  public void close() {
    all.close();
  }
}
