package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import org.fishermerge.kernels.ElementType;

/** Linear algebra as the books have it, for the tiny matrices of tests. */
final class PlainAlgebra implements LinearAlgebra {
  private final OptionalLong free;

  PlainAlgebra() {
    this(OptionalLong.empty());
  }

  /** As if so much memory were free. */
  PlainAlgebra(OptionalLong free) {
    this.free = free;
  }

  @Override
  public OptionalLong freeBytes() {
    return free;
  }

  /** {@inheritDoc} As exact as the other: what rounding does is for the real one to show. */
  @Override
  public LinearAlgebra inSingle() {
    return this;
  }

  private record Dense(double[][] v) implements Matrix {
    @Override
    public long rows() {
      return v.length;
    }

    @Override
    public long columns() {
      return v[0].length;
    }
  }

  private static double[][] of(Matrix a) {
    return ((Dense) a).v;
  }

  @Override
  public void run(Runnable work) {
    work.run();
  }

  @Override
  public Matrix zeros(long rows, long columns) {
    return new Dense(new double[(int) rows][(int) columns]);
  }

  @Override
  public Matrix of(MemorySegment values, ElementType type, long rows, long columns) {
    Matrix a = zeros(rows, columns);
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        of(a)[i][j] = Values.get(values, type, i * columns + j);
      }
    }
    return a;
  }

  @Override
  public Matrix symmetric(MemorySegment triangle, long n) {
    Matrix a = zeros(n, n);
    long at = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        of(a)[i][j] = triangle.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at++ * Float.BYTES);
        of(a)[j][i] = of(a)[i][j];
      }
    }
    return a;
  }

  @Override
  public void read(Matrix a, MemorySegment out) {
    long at = 0;
    for (double[] row : of(a)) {
      for (double value : row) {
        out.set(ValueLayout.JAVA_DOUBLE_UNALIGNED, at++ * Double.BYTES, value);
      }
    }
  }

  @Override
  public Matrix transposed(Matrix a) {
    Matrix t = zeros(a.columns(), a.rows());
    for (int i = 0; i < a.rows(); i++) {
      for (int j = 0; j < a.columns(); j++) {
        of(t)[j][i] = of(a)[i][j];
      }
    }
    return t;
  }

  @Override
  public Matrix product(Matrix a, Matrix b) {
    Matrix c = zeros(a.rows(), b.columns());
    for (int i = 0; i < a.rows(); i++) {
      for (int k = 0; k < a.columns(); k++) {
        for (int j = 0; j < b.columns(); j++) {
          of(c)[i][j] += of(a)[i][k] * of(b)[k][j];
        }
      }
    }
    return c;
  }

  @Override
  public void addProduct(Matrix into, double factor, Matrix a, Matrix b) {
    add(into, factor, product(a, b));
  }

  @Override
  public boolean isFinite(Matrix a) {
    return Arrays.stream(of(a)).flatMapToDouble(Arrays::stream).allMatch(Double::isFinite);
  }

  @Override
  public Matrix inverse(Matrix choleskyOfA) {
    Matrix one = zeros(choleskyOfA.rows(), choleskyOfA.rows());
    addToDiagonal(one, 1);
    return solve(choleskyOfA, one);
  }

  @Override
  public void add(Matrix into, double factor, Matrix a) {
    for (int i = 0; i < a.rows(); i++) {
      for (int j = 0; j < a.columns(); j++) {
        of(into)[i][j] += factor * of(a)[i][j];
      }
    }
  }

  @Override
  public void scale(Matrix a, double factor) {
    for (double[] row : of(a)) {
      for (int j = 0; j < row.length; j++) {
        row[j] *= factor;
      }
    }
  }

  @Override
  public void addToDiagonal(Matrix a, double value) {
    for (int i = 0; i < a.rows(); i++) {
      of(a)[i][i] += value;
    }
  }

  @Override
  public void scaleOffDiagonal(Matrix a, double factor) {
    for (int i = 0; i < a.rows(); i++) {
      for (int j = 0; j < a.columns(); j++) {
        of(a)[i][j] *= i == j ? 1 : factor;
      }
    }
  }

  @Override
  public void scaleColumns(Matrix a, double[] factors) {
    for (double[] row : of(a)) {
      for (int j = 0; j < row.length; j++) {
        row[j] *= factors[j];
      }
    }
  }

  @Override
  public double[] diagonal(Matrix a) {
    return IntStream.range(0, (int) a.rows()).mapToDouble(i -> of(a)[i][i]).toArray();
  }

  @Override
  public void setDiagonal(Matrix a, double value) {
    for (int i = 0; i < a.rows(); i++) {
      of(a)[i][i] = value;
    }
  }

  @Override
  public double trace(Matrix a) {
    double sum = 0;
    for (int i = 0; i < a.rows(); i++) {
      sum += of(a)[i][i];
    }
    return sum;
  }

  @Override
  public double dot(Matrix a, Matrix b) {
    double sum = 0;
    for (int i = 0; i < a.rows(); i++) {
      for (int j = 0; j < a.columns(); j++) {
        sum += of(a)[i][j] * of(b)[i][j];
      }
    }
    return sum;
  }

  @Override
  public Optional<Matrix> cholesky(Matrix a) {
    int n = (int) a.rows();
    Matrix l = zeros(n, n);
    for (int j = 0; j < n; j++) {
      for (int i = j; i < n; i++) {
        double sum = of(a)[i][j];
        for (int k = 0; k < j; k++) {
          sum -= of(l)[i][k] * of(l)[j][k];
        }
        if (i == j && !(sum > 0)) {
          return Optional.empty();
        }
        of(l)[i][j] = i == j ? Math.sqrt(sum) : sum / of(l)[j][j];
      }
    }
    return Optional.of(l);
  }

  /** By Jacobi's rotations. */
  @Override
  public Matrix pseudoInverse(Matrix a, double above) {
    int n = (int) a.rows();
    double[][] s = IntStream.range(0, n).mapToObj(i -> of(a)[i].clone()).toArray(double[][]::new);
    double[][] v = new double[n][n];
    for (int i = 0; i < n; i++) {
      v[i][i] = 1;
    }
    double small = 1e-16 * Math.sqrt(dot(a, a));
    for (int sweep = 0; sweep < 60; sweep++) {
      for (int p = 0; p < n; p++) {
        for (int q = p + 1; q < n; q++) {
          if (Math.abs(s[p][q]) > small) {
            rotate(s, v, p, q);
          }
        }
      }
    }
    Matrix inverse = zeros(n, n);
    for (int k = 0; k < n; k++) {
      if (s[k][k] > above) {
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            of(inverse)[i][j] += v[i][k] * v[j][k] / s[k][k];
          }
        }
      }
    }
    return inverse;
  }

  /** Makes s[p][q] zero; v has the eigenvectors in its columns. */
  private static void rotate(double[][] s, double[][] v, int p, int q) {
    double angle = 0.5 * Math.atan2(2 * s[p][q], s[q][q] - s[p][p]);
    double cos = Math.cos(angle);
    double sin = Math.sin(angle);
    for (int k = 0; k < s.length; k++) {
      double left = s[k][p];
      double right = s[k][q];
      s[k][p] = cos * left - sin * right;
      s[k][q] = sin * left + cos * right;
    }
    for (int k = 0; k < s.length; k++) {
      double left = s[p][k];
      double right = s[q][k];
      s[p][k] = cos * left - sin * right;
      s[q][k] = sin * left + cos * right;
      double first = v[k][p];
      double second = v[k][q];
      v[k][p] = cos * first - sin * second;
      v[k][q] = sin * first + cos * second;
    }
  }

  @Override
  public Matrix solve(Matrix choleskyOfA, Matrix b) {
    double[][] l = of(choleskyOfA);
    int n = l.length;
    Matrix x = zeros(b.rows(), b.columns());
    for (int c = 0; c < b.columns(); c++) {
      for (int i = 0; i < n; i++) {
        double sum = of(b)[i][c];
        for (int k = 0; k < i; k++) {
          sum -= l[i][k] * of(x)[k][c];
        }
        of(x)[i][c] = sum / l[i][i];
      }
      for (int i = n - 1; i >= 0; i--) {
        double sum = of(x)[i][c];
        for (int k = i + 1; k < n; k++) {
          sum -= l[k][i] * of(x)[k][c];
        }
        of(x)[i][c] = sum / l[i][i];
      }
    }
    return x;
  }
}
