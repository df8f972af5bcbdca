package org.fishermerge.checkpoint;

/**
 * A linear layer y = W x + b of which a statistic file holds factors.
 *
 * @param outputs O
 * @param inputs I; of a convolution over patches, the values of a patch in the order of its weight
 * @param transposed whether the weight is stored as W^T, [I, O], as GPT-2 does
 * @param tokens over how many tokens its Gram matrix was summed; 0 if it has none
 */
public record LinearLayer(long outputs, long inputs, boolean transposed, long tokens) {
  /** Checks that there is something of it, and no more than memory could hold. */
  public LinearLayer {
    if (outputs < 1
        || inputs < 1
        || tokens < 0
        || outputs > Integer.MAX_VALUE
        || inputs > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "a layer of %d outputs, %d inputs and %d tokens".formatted(outputs, inputs, tokens));
    }
  }

  /** The same layer with another number of tokens. */
  public LinearLayer withTokens(long count) {
    return new LinearLayer(outputs, inputs, transposed, count);
  }

  /** Whether it is the same layer but for the tokens. */
  public boolean hasShapeOf(LinearLayer other) {
    return equals(other.withTokens(tokens));
  }
}
