package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class LabelExpectationTest {
  /** Class counts times confidence: logits of this standard deviation. */
  static Stream<Arguments> predictions() {
    return IntStream.of(2, 3, 10, 397)
        .boxed()
        .flatMap(classes ->
            Stream.of(0.0, 1.0, 30.0, 1000.0)
                .map(spread -> Arguments.of(classes, spread, 11L * classes)));
  }

  /** The columns must multiply to the label covariance, entry by entry. */
  @ParameterizedTest(name = "{0} classes, spread {1}, seed {2}")
  @MethodSource("predictions")
  void exactColumnsFactorTheLabelCovariance(int classes, double spread, long seed) {
    double[] p = probabilities(classes, spread, seed);
    double[][] columns = cotangents(new LabelExpectation.Exact(), p);
    assertThat(columns).hasDimensions(classes - 1, classes);
    for (int i = 0; i < classes; i++) {
      for (int j = i; j < classes; j++) {
        double product = 0;
        for (double[] column : columns) {
          product += column[i] * column[j];
        }
        // Off the diagonal terms cancel, so rounding is relative to what Cauchy and Schwarz allow.
        double scale = Math.sqrt(p[i] * restOf(p, i)) * Math.sqrt(p[j] * restOf(p, j));
        double expected = (i == j ? p[i] * restOf(p, i) : -p[i] * p[j]);
        assertThat(product)
            .as("entry %d, %d", i, j)
            .isCloseTo(expected, within(1e-12 * scale + 1e-280));
      }
    }
  }

  /**
   * Whatever signs are drawn, the part that is not left to chance plus the mean over signs is the
   * label covariance; the mean over 20000 draws must agree with it within its own noise.
   */
  @ParameterizedTest(name = "{0}")
  @ValueSource(
      strings = {
        "lowrank:1",
        "lowrank:3",
        "adaptive:1",
        "adaptive:2",
        "adaptive:4",
        "rademacher:1",
        "rademacher:3",
        "top:1",
        "top:3",
        "sampled:2"
      })
  void randomRulesAverageToTheLabelCovariance(String text) {
    double[] p = probabilities(7, 1.5, 3);
    LabelExpectation labels = LabelExpectation.parse(text).calibrated(List.of(p));
    int draws = 20_000;
    double[][] sum = new double[p.length][p.length];
    double[][] squares = new double[p.length][p.length];
    for (int draw = 0; draw < draws; draw++) {
      double[][] columns = labels.cotangents(p, -1, new ExampleRandom(5, draw));
      assertThat(columns.length).isBetween(1, labels.probes(p.length));
      for (int i = 0; i < p.length; i++) {
        for (int j = 0; j < p.length; j++) {
          double entry = 0;
          for (double[] column : columns) {
            entry += labels.weight() * column[i] * column[j];
          }
          sum[i][j] += entry;
          squares[i][j] += entry * entry;
        }
      }
    }
    for (int i = 0; i < p.length; i++) {
      for (int j = 0; j < p.length; j++) {
        double mean = sum[i][j] / draws;
        double error = Math.sqrt(Math.max(0, squares[i][j] / draws - mean * mean) / draws);
        double expected = i == j ? p[i] * restOf(p, i) : -p[i] * p[j];
        assertThat(mean).as("entry %d, %d", i, j).isCloseTo(expected, within(5 * error + 1e-12));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"lowrank:5", "lowrank:6", "top:5", "top:400", "adaptive:6", "adaptive:400"})
  void asManyProbesAsDirectionsAreExact(String text) {
    double[] p = probabilities(7, 1.5, 3);
    assertThat(cotangents(LabelExpectation.parse(text).calibrated(List.of(p)), p))
        .isDeepEqualTo(cotangents(new LabelExpectation.Exact(), p));
  }

  @Test
  void adaptiveSpendsItsProbesOnUnsureExamples() {
    double[] sure = probabilities(50, 30, 1);
    double[] unsure = probabilities(50, 0.3, 1);
    LabelExpectation adaptive =
        LabelExpectation.parse("adaptive:9").calibrated(List.of(sure, unsure));
    assertThat(cotangents(adaptive, sure)).hasDimensions(1, 50);
    assertThat(cotangents(adaptive, unsure)).hasDimensions(16, 50);
  }

  @ParameterizedTest(name = "{0} probes on average")
  @ValueSource(ints = {1, 2, 4, 11})
  void adaptiveKeepsItsMean(int probes) {
    List<double[]> predictions = new ArrayList<>();
    for (int seed = 0; seed < 64; seed++) {
      predictions.add(probabilities(40, 1 + seed % 5, seed));
    }
    LabelExpectation adaptive =
        LabelExpectation.parse("adaptive:" + probes).calibrated(predictions);
    double mean =
        predictions.stream().mapToInt(p -> cotangents(adaptive, p).length).average().orElseThrow();
    assertThat(mean).isBetween(0.5 * probes, (double) probes);
  }

  @Test
  void adaptiveIsOfNoUseUncalibrated() {
    assertThatThrownBy(() -> cotangents(LabelExpectation.parse("adaptive:4"), new double[] {1, 0}))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("calibrated");
  }

  @Test
  void aCertainPredictionHasNoFisher() {
    double[][] columns = cotangents(new LabelExpectation.Exact(), new double[] {0, 1, 0});
    assertThat(Arrays.stream(columns).flatMapToDouble(Arrays::stream).boxed())
        .allMatch(v -> v == 0);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3})
  void drawnLabelsFollowThePrediction(long seed) {
    double[] p = {0.5, 0.3, 0.15, 0.05};
    int draws = 4000;
    LabelExpectation sampled = new LabelExpectation.Sampled(draws);
    double[][] columns = sampled.cotangents(p, -1, new ExampleRandom(seed, 5));
    double[] counts = new double[p.length];
    for (double[] column : columns) {
      for (int c = 0; c < p.length; c++) {
        if (column[c] > 0) {
          counts[c]++;
          assertThat(column[c]).isCloseTo(1 - p[c], within(1e-12));
        }
      }
    }
    for (int c = 0; c < p.length; c++) {
      double sigma = Math.sqrt(p[c] * (1 - p[c]) / draws);
      assertThat(counts[c] / draws).isCloseTo(p[c], within(4 * sigma));
    }
    assertThat(sampled.weight()).isEqualTo(1.0 / draws);
  }

  @Test
  void argmaxAndTrueTakeOneLabel() {
    double[] p = {0.2, 0.7, 0.1};
    assertThat(cotangents(new LabelExpectation.Argmax(), p)[0])
        .containsExactly(new double[] {-0.2, 0.3, -0.1}, within(1e-15));
    double[][] column = new LabelExpectation.TrueLabel().cotangents(p, 2, new ExampleRandom(0, 0));
    assertThat(column[0]).containsExactly(new double[] {-0.2, -0.7, 0.9}, within(1e-15));
  }

  @Test
  void batchSquareIsTheGradientOfItsLoss() {
    double[] z = {0.3, -1.2, 2.0};
    double[] cotangent = cotangents(new LabelExpectation.BatchSquare(), softmax(z))[0];
    double h = 1e-6;
    double[] held = softmax(z);
    for (int j = 0; j < z.length; j++) {
      double[] up = z.clone();
      double[] down = z.clone();
      up[j] += h;
      down[j] -= h;
      double slope = (batchSquareLoss(held, up) - batchSquareLoss(held, down)) / (2 * h);
      assertThat(cotangent[j]).isCloseTo(slope, within(1e-8));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "exact",
        "argmax",
        "true",
        "batch-square",
        "sampled:1",
        "sampled:64",
        "lowrank:3",
        "adaptive:4",
        "rademacher:2",
        "top:1"
      })
  void textIsWhatWasParsed(String text) {
    assertThat(LabelExpectation.parse(text).text()).isEqualTo(text);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "Exact",
        "sampled",
        "sampled:",
        "sampled:0",
        "sampled:-1",
        "sampled:x",
        "top",
        "lowrank:0",
        "lowrank:10001",
        "lowrank:1.5",
        "top:",
        "adaptive",
        "adaptive:0"
      })
  void refusesOtherRules(String text) {
    assertThatThrownBy(() -> LabelExpectation.parse(text))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("\"" + text + "\"");
  }

  private static double batchSquareLoss(double[] held, double[] z) {
    double[] p = softmax(z);
    double loss = 0;
    for (int c = 0; c < z.length; c++) {
      loss += Math.sqrt(held[c]) * Math.log(p[c]);
    }
    return loss;
  }

  private static double[][] cotangents(LabelExpectation labels, double[] p) {
    return labels.cotangents(p, -1, new ExampleRandom(0, 0));
  }

  private static double restOf(double[] p, int index) {
    double rest = 0;
    for (int c = 0; c < p.length; c++) {
      rest += c == index ? 0 : p[c];
    }
    return rest;
  }

  /** A softmax of normal logits of standard deviation {@code spread}. */
  static double[] probabilities(int classes, double spread, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    double[] z = new double[classes];
    for (int c = 0; c < classes; c++) {
      z[c] = spread * random.nextGaussian();
    }
    return softmax(z);
  }

  private static double[] softmax(double[] z) {
    double max = Arrays.stream(z).max().orElseThrow();
    double[] p = Arrays.stream(z).map(v -> Math.exp(v - max)).toArray();
    double sum = Arrays.stream(p).sum();
    return Arrays.stream(p).map(v -> v / sum).toArray();
  }
}
