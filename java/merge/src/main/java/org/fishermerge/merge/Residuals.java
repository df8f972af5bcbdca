package org.fishermerge.merge;

import java.util.Locale;
import java.util.Optional;

/** How far the layers of a merge are from solving their systems. */
final class Residuals {
  private double largest;
  private long iterations;
  private int layers;
  private int missed;

  /** Of the layer furthest above what was wanted of it, by their ratio; layers want different. */
  private Optional<Layer> worst = Optional.empty();

  private record Layer(String name, LayerRule.Solution solution) {
    double ratio() {
      return solution.residual() / solution.wanted();
    }
  }

  /** Takes a layer that was solved. */
  void add(String layer, LayerRule.Solution solution) {
    layers++;
    iterations += solution.iterations();
    largest = Math.max(largest, solution.residual());
    if (solution.residual() > solution.wanted()) {
      missed++;
      Layer next = new Layer(layer, solution);
      if (worst.isEmpty() || next.ratio() > worst.get().ratio()) {
        worst = Optional.of(next);
      }
    }
  }

  /** The largest residual of all layers; 0 without any. */
  double largest() {
    return largest;
  }

  /** Iterations of all layers. */
  long iterations() {
    return iterations;
  }

  /** A sentence for the user where layers were left further from their solution than wanted. */
  Optional<String> warning() {
    return worst.map(layer ->
        String.format(
            Locale.ROOT,
            "the system of '%s' was solved to a residual of %.2g in %d iterations, where %.2g was"
                + " wanted%s; a larger --damping makes it easier",
            layer.name(),
            layer.solution().residual(),
            layer.solution().iterations(),
            layer.solution().wanted(),
            missed == 1 ? "" : " (%d of %d layers fall short)".formatted(missed, layers)));
  }
}
