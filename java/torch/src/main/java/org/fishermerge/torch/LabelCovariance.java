package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * One example's label covariance S = diag(p) - p p^T through its factor A = D (I - q q^T), with q =
 * sqrt(p) and D = diag(q): A A^T = S, because |q| = 1. A maps vectors over the classes to
 * cotangents of the logits; column k of A is sqrt(p_k) (e_k - p).
 *
 * <p>For any orthonormal u_1 ... u_M orthogonal to q and any random vector s with E[s s^T] = I,
 * {@code sum_m (A u_m)(A u_m)^T + E[(A r)(A r)^T] = S} with r = s without its parts along the u_m.
 * So the sum is right whatever the u_m are, and how close they come to the leading singular vectors
 * of A only decides how little is left to chance.
 */
final class LabelCovariance {
  // Probabilities closer than this share count as different for the search of directions, so that
  // equal ones need no case of their own.
  private static final double SEPARATION = 0x1p-30;
  private static final double SMALLEST = 1e-290;
  private static final int BISECTIONS = 40;

  private final double[] root; // q
  private final int top; // the likeliest class
  private final int[] order; // classes that matter, in falling order of p
  private final double[] poles; // their probabilities, strictly falling
  private final double trace; // sum of the eigenvalues
  private final double squares; // sum of their squares
  private final List<Eigenvalue> leading = new ArrayList<>(); // as far as they were asked for

  /** poles[origin] + distance: a pole close by, so that differences keep their digits. */
  private record Eigenvalue(int origin, double distance, double value) {}

  /**
   * @param p class probabilities [K], summing to one
   */
  LabelCovariance(double[] p) {
    root = Arrays.stream(p).map(Math::sqrt).toArray();
    order =
        IntStream.range(0, p.length)
            .filter(c -> p[c] > SMALLEST)
            .boxed()
            .sorted(Comparator.comparingDouble((Integer c) -> -p[c]))
            .mapToInt(Integer::intValue)
            .toArray();
    top = order[0];
    poles = new double[order.length];
    for (int rank = 0; rank < poles.length; rank++) {
      double pole = p[order[rank]];
      poles[rank] = rank == 0 ? pole : Math.min(pole, poles[rank - 1] * (1 - SEPARATION));
    }
    // Everything but the likeliest class is summed apart, so that nothing cancels when p is next to
    // certain. Squares: the norm of S, entry by entry.
    double others = 0;
    double otherSquares = 0;
    double diagonal = 0;
    double diagonalSquares = 0;
    double fourths = 0;
    for (int c = 0; c < p.length; c++) {
      if (c != top) {
        double variance = p[c] * (1 - p[c]);
        others += p[c];
        otherSquares += p[c] * p[c];
        fourths += p[c] * p[c] * p[c] * p[c];
        diagonal += variance;
        diagonalSquares += variance * variance;
      }
    }
    double variance = p[top] * others;
    trace = diagonal + variance;
    squares =
        diagonalSquares
            + variance * variance
            + 2 * p[top] * p[top] * otherSquares
            + Math.max(0, otherSquares * otherSquares - fourths);
  }

  int classes() {
    return root.length;
  }

  /** Classes from the likeliest down; classes of no probability are left out. */
  int[] order() {
    return order;
  }

  /** Writes A u to {@code cotangent}. */
  void pullTo(double[] u, double[] cotangent) {
    double along = 0;
    for (int c = 0; c < root.length; c++) {
      along += root[c] * u[c];
    }
    double others = 0;
    for (int c = 0; c < root.length; c++) {
      if (c != top) {
        cotangent[c] = root[c] * (u[c] - root[c] * along);
        others += cotangent[c];
      }
    }
    // Cotangents sum to zero. Taken from the others, the likeliest class keeps its digits when
    // its probability is next to one.
    cotangent[top] = -others;
  }

  /**
   * How far an estimate from some probes strays, up to a factor that belongs to the example: the
   * variance left when the best number of leading directions is taken exactly and the other probes
   * average over random signs. With h_k the derivative along direction k, one random-sign probe has
   * the variance 2 sum_{k != l} h_k^2 h_l^2; h_k^2 is taken as proportional to the eigenvalue.
   */
  double variance(int probes) {
    return probes >= root.length - 1 ? 0 : variance(bestDirections(probes), probes);
  }

  /** The number of leading directions that {@link #variance} assumes, fewer than {@code probes}. */
  int bestDirections(int probes) {
    int best = 0;
    for (int m = 1; m < Math.min(probes, poles.length); m++) {
      if (variance(m, probes) < variance(best, probes)) {
        best = m;
      }
    }
    return best;
  }

  private double variance(int directions, int probes) {
    double sum = trace;
    double sumOfSquares = squares;
    for (int m = 0; m < directions; m++) {
      double value = eigenvalue(m).value;
      sum -= value;
      sumOfSquares -= value * value;
    }
    return Math.max(0, sum * sum - sumOfSquares) / (probes - directions);
  }

  /**
   * The leading right singular vectors of A, orthonormal and orthogonal to q: {@code u_c =
   * sqrt(p_c) / (p_c - lambda)}, lambda a root of {@code sum_c p_c / (p_c - lambda)}. O(K) each.
   *
   * @return at most {@code count}; fewer where S has a lower rank
   */
  double[][] leadingDirections(int count) {
    int available = Math.min(count, poles.length - 1);
    double[][] directions = new double[available][];
    for (int m = 0; m < available; m++) {
      double[] u = direction(m);
      // Twice is enough (Kahan and Parlett).
      for (int pass = 0; pass < 2; pass++) {
        orthogonalizeToRoot(u);
        for (int previous = 0; previous < m; previous++) {
          removePart(directions[previous], u);
        }
        scale(u, 1 / Math.sqrt(dot(u, u)));
      }
      directions[m] = u;
    }
    return directions;
  }

  /** Takes the part along a unit vector out of another. */
  static void removePart(double[] unit, double[] vector) {
    double along = dot(unit, vector);
    for (int c = 0; c < vector.length; c++) {
      vector[c] -= along * unit[c];
    }
  }

  private double[] direction(int m) {
    Eigenvalue eigenvalue = eigenvalue(m);
    double[] u = new double[root.length];
    for (int rank = 0; rank < poles.length; rank++) {
      double pole = poles[rank] - poles[eigenvalue.origin];
      u[order[rank]] = Math.sqrt(poles[rank]) / (pole - eigenvalue.distance);
    }
    scale(u, 1 / Math.sqrt(dot(u, u)));
    return u;
  }

  /**
   * The m-th largest eigenvalue. Eigenvalues interlace with the probabilities, p_1 >= lambda_1 >=
   * p_2 >= lambda_2 ..., and none exceeds the trace.
   */
  private Eigenvalue eigenvalue(int m) {
    while (leading.size() <= m) {
      leading.add(search(leading.size()));
    }
    return leading.get(m);
  }

  private Eigenvalue search(int m) {
    double lower = poles[m + 1];
    double width = Math.min(poles[m], Math.max(trace, lower * (1 + SEPARATION))) - lower;
    boolean nearLower = lower + width < poles[m] || secular(lower, width / 2) > 0;
    int origin = nearLower ? m + 1 : m;
    double low = nearLower ? 0 : -width / 2;
    double high = nearLower ? width : 0;
    for (int i = 0; i < BISECTIONS; i++) {
      double middle = (low + high) / 2;
      if (secular(poles[origin], middle) > 0) {
        high = middle;
      } else {
        low = middle;
      }
    }
    double distance = nearLower ? high : low;
    return new Eigenvalue(origin, distance, poles[origin] + distance);
  }

  /** sum_c p_c / (p_c - lambda) at lambda = from + distance; rises from pole to pole. */
  private double secular(double from, double distance) {
    double sum = 0;
    for (double pole : poles) {
      sum += pole / (pole - from - distance);
    }
    return sum;
  }

  private void orthogonalizeToRoot(double[] u) {
    double others = 0;
    for (int c = 0; c < u.length; c++) {
      others += c == top ? 0 : root[c] * u[c];
    }
    u[top] = -others / root[top];
  }

  private static void scale(double[] u, double factor) {
    for (int c = 0; c < u.length; c++) {
      u[c] *= factor;
    }
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int c = 0; c < a.length; c++) {
      sum += a[c] * b[c];
    }
    return sum;
  }
}
