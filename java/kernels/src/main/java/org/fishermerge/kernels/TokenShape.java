package org.fishermerge.kernels;

/**
 * The dimensions that a Fisher accumulation sums over.
 *
 * @param probes label probes (backward passes) V
 * @param examples examples B of the batch
 * @param tokens token positions T of an example; 1 where a layer has none
 */
public record TokenShape(int probes, int examples, int tokens) {
  /** Rejects negative dimensions. */
  public TokenShape {
    if (probes < 0 || examples < 0 || tokens < 0) {
      throw new IllegalArgumentException(
          "shape: dimensions must not be negative: probes %d, examples %d, tokens %d"
              .formatted(probes, examples, tokens));
    }
  }
}
