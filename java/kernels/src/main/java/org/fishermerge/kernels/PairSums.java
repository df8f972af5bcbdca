package org.fishermerge.kernels;

/**
 * For each pair of rows x, y, including a row with itself: the sums of {@code x[j] y[j]} and of
 * {@code sqrt(x[j]) sqrt(y[j])}, in double. Mutable and not thread-safe.
 */
public final class PairSums {
  private final int rows;
  private final double[] products;
  private final double[] roots;

  /** All sums zero. */
  public PairSums(int rows) {
    this.rows = rows;
    this.products = new double[size(rows)];
    this.roots = new double[size(rows)];
  }

  /** How many pairs there are. */
  static int size(int rows) {
    return rows * (rows + 1) / 2;
  }

  /** How many rows were paired. */
  public int rows() {
    return rows;
  }

  /** Sum of the products of rows {@code p} and {@code q}, in either order. */
  public double product(int p, int q) {
    return products[index(p, q)];
  }

  /** Sum of the products of the roots of rows {@code p} and {@code q}, in either order. */
  public double root(int p, int q) {
    return roots[index(p, q)];
  }

  /**
   * Adds sums over other elements of the same rows.
   *
   * @throws IllegalArgumentException if the numbers of rows differ
   */
  public void add(PairSums other) {
    if (other.rows != rows) {
      throw new IllegalArgumentException(other.rows + " rows added to " + rows);
    }
    for (int k = 0; k < products.length; k++) {
      products[k] += other.products[k];
      roots[k] += other.roots[k];
    }
  }

  /** The sums of products, which providers fill: of pair q &lt;= p at p (p + 1) / 2 + q. */
  double[] products() {
    return products;
  }

  /** The sums of products of roots, in the same order. */
  double[] roots() {
    return roots;
  }

  private static int index(int p, int q) {
    int high = Math.max(p, q);
    return size(high) + Math.min(p, q);
  }
}
