package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;

/**
 * The tokens of a layer's output that are used further on. Where a classifier reads one token of
 * the last block, that block computes keys and values for all tokens and everything else for that
 * one.
 */
public enum OutputTokens {
  ALL,
  FIRST,
  LAST;

  /** A view of those tokens of x. */
  Tensor of(Tensor x, long tokenDimension) {
    return switch (this) {
      case ALL -> x;
      case FIRST -> x.narrow(tokenDimension, 0, 1);
      case LAST -> x.narrow(tokenDimension, -1, 1);
    };
  }
}
