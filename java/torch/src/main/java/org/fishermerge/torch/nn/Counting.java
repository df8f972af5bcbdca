package org.fishermerge.torch.nn;

import java.util.OptionalLong;

/**
 * How the tokens of a text are given rows of the position table.
 *
 * @param first of the first token
 * @param uncounted the id of tokens that are not counted: they all take the row before the first,
 *     which training leaves as it is; empty where every token is counted
 */
public record Counting(long first, OptionalLong uncounted) {
  /** All tokens, from row 0 on. */
  public static final Counting ALL = new Counting(0, OptionalLong.empty());

  /** As transformers' RoBERTa: pad tokens are not counted, and the others from the row after. */
  public static Counting without(long padToken) {
    return new Counting(padToken + 1, OptionalLong.of(padToken));
  }

  boolean counts(long id) {
    return uncounted.isEmpty() || id != uncounted.getAsLong();
  }

  /** How many tokens of a text are counted. */
  public int count(long[] ids) {
    int count = 0;
    for (long id : ids) {
      count += counts(id) ? 1 : 0;
    }
    return count;
  }

  /** The row of a token that is not counted. */
  OptionalLong fixedRow() {
    return uncounted.isEmpty() ? OptionalLong.empty() : OptionalLong.of(first - 1);
  }
}
