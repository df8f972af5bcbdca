package org.fishermerge.torch;

import java.util.Arrays;
import java.util.Comparator;
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
  private static final int BISECTIONS = 52;

  private final double[] root; // q
  private final int top; // the likeliest class
  private final int[] order; // classes that matter, in falling order of p
  private final double[] poles; // their probabilities, strictly falling

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
   * How many eigenvalues of S exceed {@code threshold} > 0. They interlace with the probabilities:
   * p_1 >= lambda_1 >= p_2 >= lambda_2 ..., so one look at the secular function decides.
   */
  int eigenvaluesAbove(double threshold) {
    int above = 0;
    while (above < poles.length && poles[above] > threshold) {
      above++;
    }
    if (above == 0 || above == poles.length) {
      return Math.min(above, poles.length - 1);
    }
    return secular(0, threshold) < 0 ? above : above - 1;
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
    double width = poles[m] - poles[m + 1];
    // The root is sought as a distance from the nearer pole, so that the differences keep digits.
    boolean nearLower = secular(poles[m + 1], width / 2) > 0;
    int origin = nearLower ? m + 1 : m;
    double low = nearLower ? 0 : -width / 2;
    double high = nearLower ? width / 2 : 0;
    for (int i = 0; i < BISECTIONS; i++) {
      double middle = (low + high) / 2;
      if (secular(poles[origin], middle) > 0) {
        high = middle;
      } else {
        low = middle;
      }
    }
    double distance = nearLower ? high : low;
    double[] u = new double[root.length];
    for (int rank = 0; rank < poles.length; rank++) {
      u[order[rank]] = Math.sqrt(poles[rank]) / (poles[rank] - poles[origin] - distance);
    }
    scale(u, 1 / Math.sqrt(dot(u, u)));
    return u;
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
