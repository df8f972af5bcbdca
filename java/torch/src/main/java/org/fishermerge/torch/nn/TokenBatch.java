package org.fishermerge.torch.nn;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Texts that run together, as token ids. They are aligned such that the token of each that
 * classifies it, its first or its last, lies in one column; what is left of shorter texts is filled
 * with their own first token, hidden from their real tokens, and no gradient reaches it.
 *
 * @param texts token ids, of at least one token each; not copied
 * @param types of the tokens, as long as the texts; null where all are of type 0
 * @param width columns: the length of the longest text, or more
 * @param alignment where texts lie in their columns
 */
public record TokenBatch(
    List<long[]> texts, @Nullable List<long[]> types, int width, Alignment alignment)
    implements Batch {
  /** Where texts lie in columns that are more than their tokens. */
  public enum Alignment {
    /** The first tokens in the first column. */
    START,
    /** The last tokens in the last column. */
    END
  }

  // Of a batch, whatever it holds: the Fisher is read and written once by the kernels.
  private static final int OVERHEAD = 16;

  /** Checks the lengths. */
  public TokenBatch {
    texts = List.copyOf(texts);
    types = types == null ? null : List.copyOf(types);
    if (texts.isEmpty() || texts.stream().anyMatch(text -> text.length == 0)) {
      throw new IllegalArgumentException("a batch without texts, or a text without tokens");
    }
    int longest = longest(texts);
    if (width < longest) {
      throw new IllegalArgumentException("a text of %d tokens in %d".formatted(longest, width));
    }
    if (types != null && types.size() != texts.size()) {
      throw new IllegalArgumentException("types of " + types.size() + " texts");
    }
  }

  /** Aligned at their ends, all tokens of type 0. */
  public TokenBatch(List<long[]> texts, int width) {
    this(texts, null, width, Alignment.END);
  }

  /** With no more columns than the longest text takes, aligned at their ends. */
  public static TokenBatch of(List<long[]> texts) {
    return of(texts, null, Alignment.END);
  }

  /** With no more columns than the longest text takes. */
  public static TokenBatch of(
      List<long[]> texts, @Nullable List<long[]> types, Alignment alignment) {
    return new TokenBatch(texts, types, longest(texts), alignment);
  }

  /**
   * How to cut texts into batches such that all together cost least: each costs its columns, and as
   * much again as {@link #OVERHEAD} columns do.
   *
   * @param lengths of the texts, in the order in which they run
   * @param most texts of a batch
   * @return the numbers of texts of the batches, in order
   */
  public static List<Integer> cut(int[] lengths, int most) {
    if (most < 1) {
      throw new IllegalArgumentException("batches of " + most);
    }
    // least[i] is the cost of the texts from i on, whose first batch holds first[i] of them.
    long[] least = new long[lengths.length + 1];
    int[] first = new int[lengths.length];
    for (int i = lengths.length - 1; i >= 0; i--) {
      least[i] = Long.MAX_VALUE;
      long width = 0;
      for (int n = 1; n <= Math.min(most, lengths.length - i); n++) {
        width = Math.max(width, lengths[i + n - 1]);
        long cost = n * width + OVERHEAD + least[i + n];
        if (cost < least[i]) {
          least[i] = cost;
          first[i] = n;
        }
      }
    }
    List<Integer> sizes = new ArrayList<>();
    for (int i = 0; i < lengths.length; i += first[i]) {
      sizes.add(first[i]);
    }
    return sizes;
  }

  private static int longest(List<long[]> texts) {
    return texts.stream().mapToInt(text -> text.length).max().orElse(0);
  }

  @Override
  public int examples() {
    return texts.size();
  }

  /** The column of a text's first token. */
  int first(int text) {
    return alignment == Alignment.END ? width - texts.get(text).length : 0;
  }

  /** The column after a text's last token. */
  int end(int text) {
    return first(text) + texts.get(text).length;
  }

  /** Whether a text has fewer tokens than there are columns. */
  boolean filled() {
    return texts.stream().anyMatch(text -> text.length < width);
  }

  /** Row-major [examples, width]. */
  long[] ids() {
    long[] ids = laidOut(texts);
    for (int b = 0; b < examples(); b++) {
      long fill = texts.get(b)[0];
      Arrays.fill(ids, b * width, b * width + first(b), fill);
      Arrays.fill(ids, b * width + end(b), (b + 1) * width, fill);
    }
    return ids;
  }

  /** The position that each column's token takes, row-major [examples, width]. */
  long[] positions(Counting counting) {
    long[] positions = new long[examples() * width];
    Arrays.fill(positions, counting.first());
    for (int b = 0; b < examples(); b++) {
      int start = b * width + first(b);
      long next = counting.first();
      for (int t = 0; t < texts.get(b).length; t++) {
        positions[start + t] = counting.counts(texts.get(b)[t]) ? next++ : counting.first() - 1;
      }
    }
    return positions;
  }

  /** The type of each column's token, row-major [examples, width]. */
  long[] typeIds() {
    return types == null ? new long[examples() * width] : laidOut(types);
  }

  private long[] laidOut(List<long[]> values) {
    long[] all = new long[examples() * width];
    for (int b = 0; b < examples(); b++) {
      System.arraycopy(values.get(b), 0, all, b * width + first(b), values.get(b).length);
    }
    return all;
  }
}
