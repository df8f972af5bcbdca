package org.fishermerge.merge;

import java.util.List;
import java.util.Optional;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Solves sum_i c_i L_i X R_i = B for X by preconditioned conjugate gradients (Hestenes and Stiefel
 * 1952), L_i and R_i symmetric and positive semidefinite. The preconditioner is (sum_i c_i tr(R_i)
 * L_i) x (sum_i c_i tr(L_i) R_i), which is the operator itself, up to a factor, where the terms are
 * proportional.
 *
 * <p>The search ends by the residual of its recurrence, which costs nothing; {@link #residual} is
 * that of X by itself. They differ by what products round, so less than some 1000 roundings is not
 * to be asked for.
 */
final class ConjugateGradients {
  /**
   * Added to the diagonals of the preconditioner's sums, of their mean, since sums of undamped
   * factors may be singular: the first always, the second where rounding leaves no Cholesky factor.
   * That costs iterations at most, and no accuracy.
   */
  private static final double[] RIDGES = {1e-6, 1e-3};

  private final List<Term> terms;
  private final LinearAlgebra algebra;
  private final Optional<Matrix> left;
  private final Optional<Matrix> right;

  /** One term c L X R. */
  record Term(double coefficient, Matrix left, Matrix right) {}

  /**
   * What was found.
   *
   * @param x the solution
   * @param residual |B - sum_i c_i L_i X R_i| / |B| as the recurrence has it
   * @param iterations that it took
   */
  record Found(Matrix x, double residual, int iterations) {}

  /**
   * A system.
   *
   * @param terms at least one, with coefficients above 0 and matrices that are not zero
   */
  ConjugateGradients(List<Term> terms, LinearAlgebra algebra) {
    this.terms = terms;
    this.algebra = algebra;
    Matrix ofLeft = algebra.zeros(terms.getFirst().left().rows(), terms.getFirst().left().rows());
    Matrix ofRight =
        algebra.zeros(terms.getFirst().right().rows(), terms.getFirst().right().rows());
    double scale = 0;
    for (Term term : terms) {
      scale += term.coefficient() * algebra.trace(term.right()) * algebra.trace(term.left());
    }
    // Both with a trace of one.
    for (Term term : terms) {
      algebra.add(ofLeft, term.coefficient() * algebra.trace(term.right()) / scale, term.left());
      algebra.add(ofRight, term.coefficient() * algebra.trace(term.left()) / scale, term.right());
    }
    this.left = inverse(ofLeft);
    this.right = inverse(ofRight);
  }

  /** The inverse of a sum of trace one, which is used up. */
  private Optional<Matrix> inverse(Matrix sum) {
    algebra.scale(sum, (double) sum.rows());
    Optional<Matrix> factor = Optional.empty();
    for (int i = 0; i < RIDGES.length && factor.isEmpty(); i++) {
      algebra.addToDiagonal(sum, RIDGES[i]);
      factor = algebra.cholesky(sum);
    }
    return factor.map(algebra::inverse);
  }

  /**
   * Begins with zero.
   *
   * @param b right-hand side, which becomes the residual
   * @param tolerance of the residual at which it ends
   * @param most iterations
   */
  Found solve(Matrix b, double tolerance, int most) {
    Matrix x = algebra.zeros(b.rows(), b.columns());
    double norm = Math.sqrt(algebra.dot(b, b));
    if (norm == 0) {
      return new Found(x, 0, 0);
    }
    Matrix z = algebra.zeros(b.rows(), b.columns());
    Matrix p = algebra.zeros(b.rows(), b.columns());
    Matrix lp = algebra.zeros(b.rows(), b.columns());
    precondition(b, z);
    algebra.add(p, 1, z);
    double rz = algebra.dot(b, z);
    int done = 0;
    double residual = 1;
    while (residual > tolerance && done < most && rz > 0) {
      MergeProgress.requireNotInterrupted();
      algebra.scale(lp, 0);
      terms.forEach(term -> addTo(lp, term, p, algebra));
      double curvature = algebra.dot(p, lp);
      if (!(curvature > 0)) {
        break; // no further direction in which the sum grows
      }
      double step = rz / curvature;
      algebra.add(x, step, p);
      algebra.add(b, -step, lp);
      done++;
      residual = Math.sqrt(algebra.dot(b, b)) / norm;
      if (residual <= tolerance) {
        break;
      }
      precondition(b, z);
      double next = algebra.dot(b, z);
      algebra.scale(p, next / rz);
      algebra.add(p, 1, z);
      rz = next;
    }
    return new Found(x, residual, done);
  }

  /**
   * |B - sum_i c_i L_i X R_i| / |B|, which takes the products of an iteration; 0 where B is zero.
   *
   * @param b is used up
   */
  double residual(Matrix x, Matrix b) {
    double norm = Math.sqrt(algebra.dot(b, b));
    for (Term term : terms) {
      addTo(b, new Term(-term.coefficient(), term.left(), term.right()), x, algebra);
    }
    return norm == 0 ? 0 : Math.sqrt(algebra.dot(b, b)) / norm;
  }

  /** into += c L x R. */
  static void addTo(Matrix into, Term term, Matrix x, LinearAlgebra algebra) {
    algebra.run(() ->
        algebra.addProduct(
            into, term.coefficient(), term.left(), algebra.product(x, term.right())));
  }

  /** z = the preconditioner's solution of r. */
  private void precondition(Matrix r, Matrix z) {
    algebra.scale(z, 0);
    algebra.run(() -> {
      Matrix half = right.map(inverse -> algebra.product(r, inverse)).orElse(r);
      left.ifPresentOrElse(
          inverse -> algebra.addProduct(z, 1, inverse, half), () -> algebra.add(z, 1, half));
    });
  }
}
