package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Texts that run together, as token ids. They are aligned at their ends, so that the last token of
 * each, which classifies it, lies in one column; what is left at the start of shorter texts is
 * filled with their own first token, hidden from their real tokens, and no gradient reaches it.
 *
 * @param texts token ids, of at least one token each; not copied
 * @param width columns: the length of the longest text, or more
 */
public record TokenBatch(List<long[]> texts, int width) {
  // Of a batch, whatever it holds: the Fisher is read and written once by the kernels.
  private static final int OVERHEAD = 16;

  /** Checks the lengths. */
  public TokenBatch {
    texts = List.copyOf(texts);
    if (texts.isEmpty() || texts.stream().anyMatch(text -> text.length == 0)) {
      throw new IllegalArgumentException("a batch without texts, or a text without tokens");
    }
    int longest = longest(texts);
    if (width < longest) {
      throw new IllegalArgumentException("a text of %d tokens in %d".formatted(longest, width));
    }
  }

  /** With no more columns than the longest text takes. */
  public static TokenBatch of(List<long[]> texts) {
    return new TokenBatch(texts, longest(texts));
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

  /** Number of texts. */
  public int examples() {
    return texts.size();
  }

  /** Columns of a text that are filled. */
  int fill(int text) {
    return width - texts.get(text).length;
  }

  boolean filled() {
    return texts.stream().anyMatch(text -> text.length < width);
  }

  /** Row-major [examples, width]. */
  long[] ids() {
    long[] ids = new long[examples() * width];
    for (int b = 0; b < examples(); b++) {
      long[] text = texts.get(b);
      int start = b * width + fill(b);
      Arrays.fill(ids, b * width, start, text[0]);
      System.arraycopy(text, 0, ids, start, text.length);
    }
    return ids;
  }

  /** The place of each column's token in its text, row-major [examples, width]. */
  long[] positions() {
    long[] positions = new long[examples() * width];
    for (int b = 0; b < examples(); b++) {
      int start = b * width + fill(b);
      for (int t = 0; t < texts.get(b).length; t++) {
        positions[start + t] = t;
      }
    }
    return positions;
  }
}
