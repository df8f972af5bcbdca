package org.fishermerge.merge;

import java.util.List;
import java.util.Optional;
import org.fishermerge.merge.KroneckerFisher.Term;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Solves sum_i c_i G_i W A_i = sum_i c_i G_i W_i A_i for W by preconditioned conjugate gradients
 * (Hestenes and Stiefel 1952). The preconditioner is (sum_i c_i tr(A_i) G_i) x (sum_i c_i tr(G_i)
 * A_i), which is the operator itself, up to a factor, where the models' factors are proportional.
 */
final class ConjugateGradients {
  private final List<Term> terms;
  private final LinearAlgebra algebra;
  private final Optional<Matrix> left;
  private final Optional<Matrix> right;

  ConjugateGradients(List<Term> terms, LinearAlgebra algebra) {
    this.terms = terms;
    this.algebra = algebra;
    Matrix g = algebra.zeros(terms.getFirst().g().rows(), terms.getFirst().g().rows());
    Matrix a = algebra.zeros(terms.getFirst().a().rows(), terms.getFirst().a().rows());
    double scale = 0;
    for (Term term : terms) {
      scale += term.coefficient() * algebra.trace(term.a()) * algebra.trace(term.g());
    }
    for (Term term : terms) {
      algebra.add(g, term.coefficient() * algebra.trace(term.a()) / scale, term.g());
      algebra.add(a, term.coefficient() * algebra.trace(term.g()) / scale, term.a());
    }
    // Undamped factors may be singular: then it goes without a preconditioner.
    this.left = algebra.cholesky(g);
    this.right = algebra.cholesky(a);
  }

  LayerRule.Solution solve(Matrix start, double tolerance, int iterations) {
    long rows = start.rows();
    long columns = start.columns();
    Matrix w = start;
    Matrix r = algebra.zeros(rows, columns);
    Matrix b = algebra.zeros(rows, columns);
    for (Term term : terms) {
      add(b, term, term.weight());
      algebra.run(() -> {
        Matrix difference = algebra.zeros(rows, columns);
        algebra.add(difference, 1, term.weight());
        algebra.add(difference, -1, w);
        add(r, term, difference);
      });
    }
    double norm = Math.sqrt(algebra.dot(b, b));
    if (norm == 0) {
      return LayerRule.Solution.direct(w);
    }
    Matrix z = algebra.zeros(rows, columns);
    Matrix p = algebra.zeros(rows, columns);
    Matrix lp = algebra.zeros(rows, columns);
    precondition(r, z);
    algebra.add(p, 1, z);
    double rz = algebra.dot(r, z);
    int done = 0;
    double residual = Math.sqrt(algebra.dot(r, r)) / norm;
    while (residual > tolerance && done < iterations && rz > 0) {
      MergeProgress.requireNotInterrupted();
      algebra.scale(lp, 0);
      for (Term term : terms) {
        add(lp, term, p);
      }
      double curvature = algebra.dot(p, lp);
      if (!(curvature > 0)) {
        break; // no further direction in which the sum grows
      }
      double step = rz / curvature;
      algebra.add(w, step, p);
      algebra.add(r, -step, lp);
      residual = Math.sqrt(algebra.dot(r, r)) / norm;
      precondition(r, z);
      double next = algebra.dot(r, z);
      algebra.scale(p, next / rz);
      algebra.add(p, 1, z);
      rz = next;
      done++;
    }
    return new LayerRule.Solution(w, residual, tolerance, done);
  }

  /** into += c G x A. */
  private void add(Matrix into, Term term, Matrix x) {
    algebra.run(() ->
        algebra.add(
            into, term.coefficient(), algebra.product(algebra.product(term.g(), x), term.a())));
  }

  /** z = the preconditioner's solution of r. */
  private void precondition(Matrix r, Matrix z) {
    algebra.scale(z, 0);
    algebra.run(() -> {
      Matrix half = left.map(factor -> algebra.solve(factor, r)).orElse(r);
      algebra.add(
          z,
          1,
          right
              .map(factor -> algebra.transposed(algebra.solve(factor, algebra.transposed(half))))
              .orElse(half));
    });
  }
}
