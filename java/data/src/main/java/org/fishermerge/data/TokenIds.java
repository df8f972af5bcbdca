package org.fishermerge.data;

/**
 * Token ids of a list of texts, padded on the right to the longest of them.
 *
 * @param ids [texts][tokens]
 * @param attentionMask [texts][tokens]: 1 for a token of the text, 0 for padding
 */
public record TokenIds(long[][] ids, long[][] attentionMask) {}
