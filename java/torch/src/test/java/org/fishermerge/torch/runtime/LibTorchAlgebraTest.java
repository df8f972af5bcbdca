package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;
import org.junit.jupiter.api.Test;

/** Every operation against its definition in plain loops, at odd sizes. */
final class LibTorchAlgebraTest {
  private static final long SEED = 17;

  private final LibTorchAlgebra algebra = new LibTorchAlgebra();
  private final Random random = new Random(SEED);

  private double[][] random(int rows, int columns) {
    double[][] values = new double[rows][];
    for (int i = 0; i < rows; i++) {
      values[i] = random.doubles(columns, -1, 1).toArray();
    }
    return values;
  }

  private static MemorySegment flat(double[][] values, Arena arena) {
    MemorySegment segment =
        arena.allocate((long) values.length * values[0].length * Double.BYTES, 8);
    int at = 0;
    for (double[] row : values) {
      for (double value : row) {
        segment.setAtIndex(ValueLayout.JAVA_DOUBLE, at++, value);
      }
    }
    return segment;
  }

  private Matrix of(double[][] values) {
    try (Arena arena = Arena.ofConfined()) {
      return algebra.of(flat(values, arena), ElementType.F64, values.length, values[0].length);
    }
  }

  private double[][] read(Matrix a) {
    double[][] values = new double[(int) a.rows()][(int) a.columns()];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(a.rows() * a.columns() * Double.BYTES, 8);
      algebra.read(a, out);
      for (int i = 0; i < values.length; i++) {
        for (int j = 0; j < values[i].length; j++) {
          values[i][j] = out.getAtIndex(ValueLayout.JAVA_DOUBLE, i * a.columns() + j);
        }
      }
    }
    return values;
  }

  private static void assertSame(double[][] actual, double[][] expected) {
    assertThat(actual).hasDimensions(expected.length, expected[0].length);
    for (int i = 0; i < expected.length; i++) {
      for (int j = 0; j < expected[i].length; j++) {
        assertThat(actual[i][j]).as("[%d, %d]", i, j).isCloseTo(expected[i][j], within(1e-11));
      }
    }
  }

  private static double[][] product(double[][] a, double[][] b) {
    double[][] c = new double[a.length][b[0].length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < b[0].length; j++) {
        for (int k = 0; k < b.length; k++) {
          c[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return c;
  }

  private static double[][] transposed(double[][] a) {
    double[][] t = new double[a[0].length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a[i].length; j++) {
        t[j][i] = a[i][j];
      }
    }
    return t;
  }

  @Test
  void sumsAndProducts() {
    double[][] a = random(5, 7);
    double[][] b = random(7, 3);
    algebra.run(() -> {
      assertSame(read(algebra.product(of(a), of(b))), product(a, b));
      assertSame(read(algebra.transposed(of(a))), transposed(a));
      Matrix sum = of(a);
      algebra.add(sum, -0.5, of(a));
      algebra.scale(sum, 4);
      double[][] doubled = new double[5][7];
      double dot = 0;
      for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 7; j++) {
          doubled[i][j] = 2 * a[i][j];
          dot += a[i][j] * 2 * a[i][j];
        }
      }
      assertSame(read(sum), doubled);
      assertThat(algebra.dot(of(a), sum)).isCloseTo(dot, within(1e-12));
      assertSame(read(algebra.zeros(2, 3)), new double[2][3]);
    });
  }

  @Test
  void productsAreAdded() {
    double[][] a = random(5, 7);
    double[][] b = random(7, 3);
    double[][] c = random(5, 3);
    double[][] expected = product(a, b);
    for (int i = 0; i < 5; i++) {
      for (int j = 0; j < 3; j++) {
        expected[i][j] = c[i][j] - 2 * expected[i][j];
      }
    }
    algebra.run(() -> {
      Matrix sum = of(c);
      algebra.addProduct(sum, -2, of(a), of(b));
      assertSame(read(sum), expected);
    });
  }

  @Test
  void finiteAndNot() {
    algebra.run(() -> {
      assertThat(algebra.isFinite(of(new double[][] {{1, -1e300}, {0, 3}}))).isTrue();
      for (double odd : List.of(Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY)) {
        assertThat(algebra.isFinite(of(new double[][] {{1, 2}, {odd, 3}}))).isFalse();
      }
    });
  }

  /** Every operation that a layer is solved with, in floats: as in doubles, but for rounding. */
  @Test
  void singlePrecision() {
    LinearAlgebra single = algebra.inSingle();
    double[][] root = random(9, 20);
    double[][] square = product(root, transposed(root));
    float[] triangle = new float[45];
    double[] flat = new double[9 * 4];
    double[][] x = random(9, 4);
    for (int i = 0, at = 0; i < 9; i++) {
      System.arraycopy(x[i], 0, flat, 4 * i, 4);
      for (int j = 0; j <= i; j++) {
        triangle[at++] = (float) square[i][j];
      }
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment stored = arena.allocateFrom(ValueLayout.JAVA_FLOAT, triangle);
      MemorySegment values = arena.allocateFrom(ValueLayout.JAVA_DOUBLE, flat);
      single.run(() -> {
        Matrix a = single.symmetric(stored, 9);
        Matrix b = single.of(values, ElementType.F64, 9, 4);
        Matrix inverse = single.inverse(single.cholesky(a).orElseThrow());
        Matrix back = single.product(inverse, single.product(a, b));
        single.addProduct(back, 2, inverse, single.product(a, b));
        single.scale(back, 1.0 / 3);
        single.add(back, -1, b);
        assertThat(Math.sqrt(single.dot(back, back) / single.dot(b, b))).isBetween(1e-12, 1e-4);
        assertThat(single.trace(a)).isCloseTo(algebra.trace(of(square)), within(1e-5));
        assertThat(single.isFinite(a)).isTrue();
        double[][] read = read(single.transposed(a));
        for (int i = 0; i < 9; i++) {
          for (int j = 0; j < 9; j++) {
            assertThat(read[i][j]).isEqualTo((float) square[Math.max(i, j)][Math.min(i, j)]);
          }
        }
      });
    }
  }

  /** Of more rows than are mirrored at once. */
  @Test
  void largeTriangles() {
    int n = 600;
    float[] values = new float[n * (n + 1) / 2];
    for (int i = 0; i < values.length; i++) {
      values[i] = i;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment triangle = arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
      algebra.run(() -> {
        double[][] read = read(algebra.symmetric(triangle, n));
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            int low = Math.max(i, j);
            double wanted = low * (low + 1) / 2 + Math.min(i, j);
            if (read[i][j] != wanted) { // assertThat takes seconds here
              assertThat(read[i][j]).as("[%d, %d]", i, j).isEqualTo(wanted);
            }
          }
        }
        assertThat(read).hasDimensions(n, n);
      });
    }
  }

  @Test
  void diagonals() {
    double[][] a = random(6, 6);
    algebra.run(() -> {
      Matrix changed = of(a);
      algebra.scaleOffDiagonal(changed, 0.25);
      algebra.addToDiagonal(changed, 3);
      double[][] expected = new double[6][6];
      double trace = 0;
      for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 6; j++) {
          expected[i][j] = i == j ? a[i][j] + 3 : 0.25 * a[i][j];
        }
        trace += expected[i][i];
      }
      assertSame(read(changed), expected);
      assertThat(algebra.trace(changed)).isCloseTo(trace, within(1e-12));
      double[] factors = {1, -2, 0, 4, 5, 6};
      assertThat(algebra.diagonal(changed)).hasSize(6);
      algebra.scaleColumns(changed, factors);
      for (int i = 0; i < 6; i++) {
        assertThat(algebra.diagonal(changed)[i]).isEqualTo(expected[i][i] * factors[i]);
        for (int j = 0; j < 6; j++) {
          expected[i][j] *= factors[j];
        }
        expected[i][i] = 7;
      }
      algebra.setDiagonal(changed, 7);
      assertSame(read(changed), expected);
    });
  }

  @Test
  void trianglesAreSymmetricMatrices() {
    try (Arena arena = Arena.ofConfined()) {
      float[] values = {1, -2, 3, 4, 5, 6};
      MemorySegment triangle = arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
      algebra.run(() ->
          assertSame(
              read(algebra.symmetric(triangle, 3)),
              new double[][] {{1, -2, 4}, {-2, 3, 5}, {4, 5, 6}}));
    }
  }

  @Test
  void typesAreConverted() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment half =
          arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0x3C00, (short) 0xC100);
      MemorySegment brain =
          arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0x3F80, (short) 0xC020);
      algebra.run(() -> {
        assertSame(read(algebra.of(half, ElementType.F16, 1, 2)), new double[][] {{1, -2.5}});
        assertSame(read(algebra.of(brain, ElementType.BF16, 2, 1)), new double[][] {{1}, {-2.5}});
      });
    }
  }

  /** P of a = X X^T with X [n, r] of full rank: a P a = a, P a P = P, both symmetric. */
  @Test
  void inversesOfWhatHasNone() {
    double[][] root = random(7, 3);
    double[][] a = product(root, transposed(root));
    algebra.run(() -> {
      double[][] p = read(algebra.pseudoInverse(of(a), 1e-9));
      assertSame(product(product(a, p), a), a);
      assertSame(product(product(p, a), p), p);
      assertSame(transposed(product(a, p)), product(a, p));
      assertSame(
          read(algebra.pseudoInverse(of(new double[][] {{0, 0, 0}, {0, 4, 0}, {0, 0, -1}}), 0)),
          new double[][] {{0, 0, 0}, {0, 0.25, 0}, {0, 0, 0}});
    });
  }

  @Test
  void systemsAreSolved() {
    double[][] root = random(9, 9);
    double[][] a = product(root, transposed(root));
    double[][] x = random(9, 4);
    algebra.run(() -> {
      Matrix factor = algebra.cholesky(of(a)).orElseThrow();
      double[][] l = read(factor);
      assertSame(product(l, transposed(l)), a);
      double[][] solved = read(algebra.solve(factor, of(product(a, x))));
      for (int i = 0; i < 9; i++) {
        for (int j = 0; j < 4; j++) {
          assertThat(solved[i][j]).isCloseTo(x[i][j], within(1e-7));
        }
      }
      double[][] one = product(a, read(algebra.inverse(factor)));
      for (int i = 0; i < 9; i++) {
        for (int j = 0; j < 9; j++) {
          assertThat(one[i][j]).isCloseTo(i == j ? 1 : 0, within(1e-7));
        }
      }
      assertThat(algebra.cholesky(of(new double[][] {{1, 2}, {2, 1}}))).isEmpty();
      assertThat(algebra.cholesky(algebra.zeros(3, 3))).isEmpty();
    });
  }
}
