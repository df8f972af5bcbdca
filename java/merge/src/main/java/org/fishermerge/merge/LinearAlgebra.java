package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.kernels.ElementType;

/**
 * Dense matrices of doubles, or of floats where {@link #inSingle} was asked, for rules that solve a
 * system for each layer. This module has no implementation of its own, so that it needs no library:
 * {@code LibTorchAlgebra} of fisher-merge-torch is one. For one thread at a time. Operations may
 * use several threads of their own; results have the same bits for any number of them.
 */
public interface LinearAlgebra {
  /** A matrix, valid until the work ends in which it was made. */
  interface Matrix {
    /** Rows. */
    long rows();

    /** Columns. */
    long columns();
  }

  /**
   * The same with matrices of floats, for systems that need not be solved to more than three
   * digits: products take half of the time and of the memory. Matrices of the two do not mix;
   * {@link #run} frees those of both.
   */
  LinearAlgebra inSingle();

  /** Memory that is left where matrices lie, in bytes; empty where that cannot be told. */
  default OptionalLong freeBytes() {
    return OptionalLong.empty();
  }

  /** Does some work, and frees the matrices that were made in it. */
  void run(Runnable work);

  /** A matrix of zeros. */
  Matrix zeros(long rows, long columns);

  /**
   * A copy of values.
   *
   * @param values row by row
   */
  Matrix of(MemorySegment values, ElementType type, long rows, long columns);

  /**
   * A symmetric matrix.
   *
   * @param triangle F32, the lower triangle row by row: n (n + 1) / 2 values
   */
  Matrix symmetric(MemorySegment triangle, long n);

  /**
   * Copies the values out, row by row.
   *
   * @param out F64, as long as the matrix
   */
  void read(Matrix a, MemorySegment out);

  /** a^T, as a copy. */
  Matrix transposed(Matrix a);

  /** a b. */
  Matrix product(Matrix a, Matrix b);

  /** into += factor * a b. */
  void addProduct(Matrix into, double factor, Matrix a, Matrix b);

  /** into += factor * a. */
  void add(Matrix into, double factor, Matrix a);

  /** a *= factor. */
  void scale(Matrix a, double factor);

  /** a += value * I. */
  void addToDiagonal(Matrix a, double value);

  /** Multiplies everything but the diagonal. */
  void scaleOffDiagonal(Matrix a, double factor);

  /** Multiplies each column by a factor of its own. */
  void scaleColumns(Matrix a, double[] factors);

  /** The values on the diagonal. */
  double[] diagonal(Matrix a);

  /** Makes all values on the diagonal the same. */
  void setDiagonal(Matrix a, double value);

  /** The sum of the diagonal. */
  double trace(Matrix a);

  /** Whether no value is infinite or NaN; false also where their sum is beyond a double. */
  boolean isFinite(Matrix a);

  /** The sum over elements of the products of a and b, summed in double. */
  double dot(Matrix a, Matrix b);

  /**
   * The lower triangular L with L L^T = a.
   *
   * @param a symmetric
   * @return empty if a is not positive definite in this arithmetic
   */
  Optional<Matrix> cholesky(Matrix a);

  /**
   * The inverse on the span of those eigenvectors whose eigenvalue is above a bound, and zero on
   * the others.
   *
   * @param a symmetric
   */
  Matrix pseudoInverse(Matrix a, double above);

  /** a^-1. */
  Matrix inverse(Matrix choleskyOfA);

  /** a^-1 b. */
  Matrix solve(Matrix choleskyOfA, Matrix b);
}
