package org.fishermerge.merge;

import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;

/** A linear layer whose weight a {@link LayerRule} finds. */
record SolvedLayer(Parameter parameter, LinearLayer layer) {
  /** Copies of a factor while it is read, beside the one that is kept. */
  private static final long READING = 3;

  /** The name of its weight. */
  String name() {
    return parameter.name();
  }

  /** Bytes of its factors in one model's file. */
  long factorBytes(LayerRule rule) {
    return rule.factors().stream()
        .mapToLong(factor -> factor.storedValues(layer) * Float.BYTES)
        .sum();
  }

  /** Memory that solving it takes: factors and weights of all models, and the rule's own work. */
  long solvingBytes(LayerRule rule, int models) {
    long factors = 0;
    long largest = 0;
    for (LayerFactor factor : rule.factors()) {
      long values = factor.size(layer) * factor.size(layer);
      factors += values;
      largest = Math.max(largest, values);
    }
    long weight = layer.inputs() * layer.outputs();
    long work = Math.max(READING * largest, rule.workValues(layer));
    return (models * (factors + weight) + work)
        * (rule.inSingle(layer) ? Float.BYTES : Double.BYTES);
  }
}
