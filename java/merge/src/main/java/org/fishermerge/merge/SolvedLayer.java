package org.fishermerge.merge;

import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;

/** A linear layer whose weight a {@link LayerRule} finds. */
record SolvedLayer(Parameter parameter, LinearLayer layer) {
  /** Matrices of the weight's shape at the same time, beside the models' own. */
  private static final long SEARCH_MATRICES = 12;

  /** The name of its weight. */
  String name() {
    return parameter.name();
  }

  /** Bytes of its factors in one model's file. */
  long factorBytes(LayerRule rule) {
    return rule.factors().stream()
        .mapToLong(factor -> LayerFactor.triangle(factor.size(layer)) * Float.BYTES)
        .sum();
  }

  /** Memory that solving it takes: factors and weights of all models, and what the search keeps. */
  long solvingBytes(LayerRule rule, int models) {
    long factors = rule.factors().stream().mapToLong(f -> f.size(layer) * f.size(layer)).sum();
    long sums = layer.inputs() * layer.inputs() + layer.outputs() * layer.outputs();
    long weight = layer.inputs() * layer.outputs();
    return (models * (factors + weight) + 2 * sums + SEARCH_MATRICES * weight) * Double.BYTES;
  }
}
