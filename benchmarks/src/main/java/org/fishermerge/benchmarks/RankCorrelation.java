package org.fishermerge.benchmarks;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** Spearman's rank correlation. */
final class RankCorrelation {
  private RankCorrelation() {}

  /**
   * Pearson's correlation of ranks, equal values sharing the mean of their places; NaN where one
   * side has a single value only.
   */
  static double of(List<Double> x, List<Double> y) {
    return pearson(ranks(x), ranks(y));
  }

  private static double[] ranks(List<Double> values) {
    List<Integer> order =
        IntStream.range(0, values.size())
            .boxed()
            .sorted(Comparator.comparing(values::get))
            .toList();
    double[] ranks = new double[values.size()];
    for (int from = 0; from < order.size(); ) {
      int to = from;
      while (to + 1 < order.size()
          && values.get(order.get(to + 1)).equals(values.get(order.get(from)))) {
        to++;
      }
      for (int i = from; i <= to; i++) {
        ranks[order.get(i)] = (from + to) / 2.0;
      }
      from = to + 1;
    }
    return ranks;
  }

  private static double pearson(double[] x, double[] y) {
    double meanX = Arrays.stream(x).average().orElseThrow();
    double meanY = Arrays.stream(y).average().orElseThrow();
    double xy = 0;
    double xx = 0;
    double yy = 0;
    for (int i = 0; i < x.length; i++) {
      xy += (x[i] - meanX) * (y[i] - meanY);
      xx += (x[i] - meanX) * (x[i] - meanX);
      yy += (y[i] - meanY) * (y[i] - meanY);
    }
    return xy / Math.sqrt(xx * yy);
  }
}
