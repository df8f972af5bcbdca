package org.fishermerge.kernels;

/** For each pair of rows x, y, a row with itself included: sum x y and sum sqrt(x) sqrt(y). */
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

  /** Adds sums over other elements of the same rows. */
  public void add(PairSums other) {
    if (other.rows != rows) {
      throw new IllegalArgumentException(other.rows + " rows added to " + rows);
    }
    for (int k = 0; k < products.length; k++) {
      products[k] += other.products[k];
      roots[k] += other.roots[k];
    }
  }

  /** Where a provider puts the sums of products; {@link #size} of them, row by row. */
  double[] products() {
    return products;
  }

  /** Where a provider puts the sums of products of roots. */
  double[] roots() {
    return roots;
  }

  private static int index(int p, int q) {
    int high = Math.max(p, q);
    return size(high) + Math.min(p, q);
  }
}
