package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.ConjugateGradients.Found;
import org.fishermerge.merge.ConjugateGradients.Term;
import org.fishermerge.merge.LinearAlgebra.Matrix;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Systems whose solution is known. */
final class ConjugateGradientsTest {
  private static final long SEED = 11;

  private final PlainAlgebra algebra = new PlainAlgebra();
  private final Random random = new Random(SEED);

  private Matrix random(int rows, int columns) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment values =
          arena.allocateFrom(
              ValueLayout.JAVA_DOUBLE, random.doubles((long) rows * columns, -1, 1).toArray());
      return algebra.of(values, ElementType.F64, rows, columns);
    }
  }

  private double[] read(Matrix a) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(a.rows() * a.columns() * Double.BYTES, Double.BYTES);
      algebra.read(a, out);
      return out.toArray(ValueLayout.JAVA_DOUBLE);
    }
  }

  /** X X^T of so many columns, over a floor. */
  private Matrix factor(int n, int rank, double floor) {
    Matrix root = random(n, rank);
    Matrix square = algebra.product(root, algebra.transposed(root));
    algebra.addToDiagonal(square, floor);
    return square;
  }

  private Matrix applied(List<Term> terms, Matrix x) {
    Matrix sum = algebra.zeros(x.rows(), x.columns());
    terms.forEach(term -> ConjugateGradients.addTo(sum, term, x, algebra));
    return sum;
  }

  @ParameterizedTest
  @CsvSource({"1, 1, 3", "5, 7, 3", "7, 5, 8", "1, 9, 2", "11, 3, 1"})
  void findsTheSolution(int rows, int columns, int models) {
    List<Term> terms = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      double coefficient = Math.pow(10, -i);
      terms.add(
          new Term(
              coefficient,
              factor(rows, Math.max(1, rows / 2), 0.1),
              factor(columns, columns, 0.1)));
    }
    Matrix x = random(rows, columns);
    Found found = new ConjugateGradients(terms, algebra).solve(applied(terms, x), 1e-13, 1000);
    assertThat(found.residual()).isLessThanOrEqualTo(1e-13);
    double[] wanted = read(x);
    double[] actual = read(found.x());
    for (int i = 0; i < wanted.length; i++) {
      assertThat(actual[i]).as("[%d], seed %d", i, SEED).isCloseTo(wanted[i], within(1e-8));
    }
    // Proportional terms are their own preconditioner.
    assertThat(found.iterations()).isBetween(1, models == 1 ? 3 : 400);
  }

  /** The residual that is stated is that of the solution that is given. */
  @ParameterizedTest
  @CsvSource({"0.3", "0.01", "1e-6"})
  void statesTheResidual(double tolerance) {
    List<Term> terms = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      terms.add(new Term(1 + i, factor(6, 2, 0.05), factor(9, 3, 0.05)));
    }
    Matrix b = applied(terms, random(6, 9));
    double norm = Math.sqrt(algebra.dot(b, b));
    Matrix left = algebra.zeros(6, 9);
    algebra.add(left, 1, b);
    Found found = new ConjugateGradients(terms, algebra).solve(b, tolerance, 1000);
    algebra.add(left, -1, applied(terms, found.x()));
    assertThat(found.residual()).isPositive().isLessThanOrEqualTo(tolerance);
    assertThat(Math.sqrt(algebra.dot(left, left)) / norm)
        .isCloseTo(found.residual(), within(1e-12));
  }

  /** Sums without an inverse have a solution where the right-hand side is one of their values. */
  @Test
  void solvesWhatHasNoInverse() {
    List<Term> terms =
        List.of(
            new Term(1, factor(5, 2, 0), factor(7, 2, 0)),
            new Term(2, factor(5, 1, 0), factor(7, 3, 0)));
    Matrix b = applied(terms, random(5, 7));
    double[] wanted = read(b);
    Found found = new ConjugateGradients(terms, algebra).solve(b, 1e-11, 2000);
    double[] actual = read(applied(terms, found.x()));
    for (int i = 0; i < wanted.length; i++) {
      assertThat(actual[i]).as("[%d], seed %d", i, SEED).isCloseTo(wanted[i], within(1e-9));
    }
  }

  @Test
  void nothingIsSolvedByNothing() {
    List<Term> terms = List.of(new Term(1, factor(3, 3, 0), factor(2, 2, 0)));
    Found found = new ConjugateGradients(terms, algebra).solve(algebra.zeros(3, 2), 1e-6, 10);
    assertThat(found.iterations()).isZero();
    assertThat(read(found.x())).containsOnly(0);
  }
}
