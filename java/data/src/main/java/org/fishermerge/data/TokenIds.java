package org.fishermerge.data;

/** Token ids of a list of texts, padded on the right to the longest of them. */
public final class TokenIds {
  private final long[][] ids;
  private final long[][] attentionMask;

  TokenIds(long[][] ids, long[][] attentionMask) {
    this.ids = ids;
    this.attentionMask = attentionMask;
  }

  /** [texts][tokens]; not a copy. */
  public long[][] ids() {
    return ids;
  }

  /** [texts][tokens]: 1 for a token of the text, 0 for padding; not a copy. */
  public long[][] attentionMask() {
    return attentionMask;
  }
}
