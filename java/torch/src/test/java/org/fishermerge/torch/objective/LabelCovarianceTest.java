package org.fishermerge.torch.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Of {@link LabelCovariance} and {@link LabelSpectrum}. The oracle is the dense matrix diag(p) - p
 * p^T and its eigenvalues by Jacobi rotations.
 */
final class LabelCovarianceTest {
  private @Nullable PointerScope scope;

  @BeforeEach
  void open() {
    scope = new PointerScope();
  }

  @AfterEach
  void close() {
    Objects.requireNonNull(scope).close();
  }

  static Stream<Arguments> predictions() {
    return IntStream.of(2, 3, 10, 47)
        .boxed()
        .flatMap(classes ->
            Stream.of(0.0, 1.0, 5.0, 30.0)
                .map(spread -> Arguments.of(classes, spread, 7L * classes)));
  }

  @ParameterizedTest(name = "{0} classes, spread {1}, seed {2}")
  @MethodSource("predictions")
  void directionsAreOrthonormalAndCarryTheLeadingEigenvalues(
      int classes, double spread, long seed) {
    double[] p = LabelRuleTest.falling(classes, spread, seed);
    double[] eigenvalues = eigenvalues(covariance(p));
    LabelCovariance covariance = LabelRuleTest.covariance(p);
    Tensor directions = new LabelSpectrum(covariance).directions(classes - 1);
    double[][] units = LabelRuleTest.rows(directions, classes);
    double[][] cotangents = LabelRuleTest.rows(covariance.cotangents(directions), classes);
    assertThat(units).hasDimensions(classes - 1, classes);
    for (int m = 0; m < units.length; m++) {
      double alongRoot = 0;
      for (int c = 0; c < classes; c++) {
        alongRoot += Math.sqrt(p[c]) * units[m][c];
      }
      assertThat(alongRoot).as("part of u%d along q", m).isCloseTo(0, within(1e-13));
      for (int n = 0; n <= m; n++) {
        assertThat(dot(units[m], units[n]))
            .as("u%d . u%d", m, n)
            .isCloseTo(m == n ? 1 : 0, within(1e-12));
      }
      double[] cotangent = cotangents[m];
      // |A u|^2 is the eigenvalue. Equal probabilities were set apart a little to find them.
      assertThat(dot(cotangent, cotangent))
          .as("eigenvalue %d", m)
          .isCloseTo(eigenvalues[m], within(1e-6 * eigenvalues[m] + 1e-15));
    }
  }

  @ParameterizedTest(name = "{0} classes, spread {1}, seed {2}")
  @MethodSource("predictions")
  void theFactorMultipliesToTheCovariance(int classes, double spread, long seed) {
    double[] p = LabelRuleTest.falling(classes, spread, seed);
    LabelCovariance covariance = LabelRuleTest.covariance(p);
    double[][] expected = covariance(p);
    double[][] product = new double[classes][classes];
    Tensor units = torch.eye(classes).to(torch.ScalarType.Double).unsqueeze(0);
    for (double[] column : LabelRuleTest.rows(covariance.cotangents(units), classes)) {
      for (int i = 0; i < classes; i++) {
        for (int j = 0; j < classes; j++) {
          product[i][j] += column[i] * column[j];
        }
      }
    }
    for (int i = 0; i < classes; i++) {
      for (int j = 0; j < classes; j++) {
        double scale = Math.sqrt(expected[i][i] * expected[j][j]);
        assertThat(product[i][j])
            .as("entry %d, %d", i, j)
            .isCloseTo(expected[i][j], within(1e-12 * scale + 1e-280));
      }
    }
  }

  /** Against the definition, from the dense eigenvalues: every split of the probes is tried. */
  @ParameterizedTest(name = "{0} classes, spread {1}, seed {2}")
  @MethodSource("predictions")
  void varianceIsThatOfTheBestSplit(int classes, double spread, long seed) {
    double[] p = LabelRuleTest.falling(classes, spread, seed);
    double[] eigenvalues = eigenvalues(covariance(p));
    LabelSpectrum spectrum = new LabelSpectrum(LabelRuleTest.covariance(p));
    double scale = Math.pow(Arrays.stream(eigenvalues).sum(), 2);
    for (int probes = 1; probes < classes - 1; probes++) {
      double best = Double.POSITIVE_INFINITY;
      for (int directions = 0; directions < probes; directions++) {
        double pairs = 0;
        for (int k = directions; k < classes; k++) {
          for (int l = directions; l < classes; l++) {
            pairs += k == l ? 0 : eigenvalues[k] * eigenvalues[l];
          }
        }
        best = Math.min(best, pairs / (probes - directions));
      }
      assertThat(Tensors.doubles(spectrum.variance(probes))[0])
          .as("%d probes", probes)
          .isCloseTo(best, within(1e-6 * best + 1e-9 * scale));
    }
    assertThat(Tensors.doubles(spectrum.variance(classes - 1))[0]).isZero();
  }

  /** All over the range of doubles: nothing may become NaN. */
  @Test
  void certainPredictionsStayFinite() {
    for (double[] p :
        new double[][] {
          {1, 0, 0}, {0, 1}, {1 - 1e-16, 1e-16, 0, 1e-300}, {1, 1e-200, 1e-310}, {0.5, 0.5, 0}
        }) {
      LabelCovariance covariance = LabelRuleTest.covariance(p);
      Tensor directions = new LabelSpectrum(covariance).directions(p.length - 1);
      for (double[] cotangent : LabelRuleTest.rows(covariance.cotangents(directions), p.length)) {
        assertThat(Arrays.stream(cotangent).allMatch(Double::isFinite)).isTrue();
        assertThat(Arrays.stream(cotangent).sum()).isCloseTo(0, within(1e-16));
      }
    }
  }

  private static double[][] covariance(double[] p) {
    double[][] s = new double[p.length][p.length];
    for (int i = 0; i < p.length; i++) {
      for (int j = 0; j < p.length; j++) {
        if (i != j) {
          s[i][j] = -p[i] * p[j];
          s[i][i] += p[i] * p[j];
        }
      }
    }
    return s;
  }

  /** Falling eigenvalues of a symmetric matrix by cyclic Jacobi rotations. */
  private static double[] eigenvalues(double[][] matrix) {
    int n = matrix.length;
    double[][] a = Arrays.stream(matrix).map(double[]::clone).toArray(double[][]::new);
    for (int sweep = 0; sweep < 60; sweep++) {
      for (int i = 0; i < n; i++) {
        for (int j = i + 1; j < n; j++) {
          if (a[i][j] != 0) {
            double theta = (a[j][j] - a[i][i]) / (2 * a[i][j]);
            double t = Math.copySign(1, theta) / (Math.abs(theta) + Math.hypot(theta, 1));
            double c = 1 / Math.hypot(t, 1);
            double s = t * c;
            for (int k = 0; k < n; k++) {
              double x = a[k][i];
              a[k][i] = c * x - s * a[k][j];
              a[k][j] = s * x + c * a[k][j];
            }
            for (int k = 0; k < n; k++) {
              double x = a[i][k];
              a[i][k] = c * x - s * a[j][k];
              a[j][k] = s * x + c * a[j][k];
            }
          }
        }
      }
    }
    return IntStream.range(0, n)
        .mapToDouble(i -> -a[i][i])
        .sorted()
        .map(v -> Math.max(0, -v))
        .toArray();
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int c = 0; c < a.length; c++) {
      sum += a[c] * b[c];
    }
    return sum;
  }
}
