package org.fishermerge.data;

import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** Some rows of texts. */
record SlicedTokens(TokenDataset all, RowRanges ranges, String description)
    implements SlicedExamples, TokenDataset {
  @Override
  public List<long[]> texts(long[] rows, Consumer<BadRowException> bad) {
    long[] ofAll = ranges.rows(rows);
    int[] next = {0};
    return all.texts(
        ofAll,
        e -> {
          // Bad rows are reported in order, so the next match is the right one even if a row of the
          // data set was asked for twice.
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
  public void close() {
    all.close();
  }
}
