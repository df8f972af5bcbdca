package org.fishermerge.torch.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class LabelRuleTest {
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
    double[][] columns = cotangents(new LabelRule.Exact(), p);
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
    LabelRule labels = calibrated(text, List.of(p));
    int draws = 20_000;
    double[][][] byDraw = cotangents(labels, Collections.nCopies(draws, p), 5, null);
    assertThat(Arrays.stream(byDraw).mapToInt(columns -> columns.length).summaryStatistics())
        .satisfies(
            columns -> assertThat(columns.getMin()).isPositive(),
            columns ->
                assertThat(columns.getMax()).isLessThanOrEqualTo(labels.mostProbes(p.length)));
    double[][] sum = new double[p.length][p.length];
    double[][] squares = new double[p.length][p.length];
    for (double[][] columns : byDraw) {
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
    assertThat(cotangents(calibrated(text, List.of(p)), p))
        .isDeepEqualTo(cotangents(new LabelRule.Exact(), p));
  }

  @Test
  void adaptiveSpendsItsProbesOnUnsureExamples() {
    double[] sure = probabilities(50, 30, 1);
    double[] unsure = probabilities(50, 0.3, 1);
    LabelRule adaptive = calibrated("adaptive:9", List.of(sure, unsure));
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
    LabelRule adaptive = calibrated("adaptive:" + probes, predictions);
    double mean =
        predictions.stream().mapToInt(p -> cotangents(adaptive, p).length).average().orElseThrow();
    assertThat(mean).isBetween(0.5 * probes, (double) probes);
  }

  @Test
  void adaptiveIsOfNoUseUncalibrated() {
    assertThatThrownBy(() -> cotangents(LabelRule.parse("adaptive:4"), new double[] {1, 0}))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("calibrated");
  }

  @Test
  void aCertainPredictionHasNoFisher() {
    double[][] columns = cotangents(new LabelRule.Exact(), new double[] {0, 1, 0});
    assertThat(Arrays.stream(columns).flatMapToDouble(Arrays::stream).boxed())
        .allMatch(v -> v == 0);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3})
  void drawnLabelsFollowThePrediction(long seed) {
    double[] p = {0.5, 0.3, 0.15, 0.05};
    int draws = 4000;
    LabelRule sampled = new LabelRule.Sampled(draws);
    double[][] columns = cotangents(sampled, List.of(p), seed, null)[0];
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

  /** Against a walk along the sums: which labels a seed draws is part of a result. */
  @Test
  void drawnLabelsAreThoseOfEachExamplesStream() {
    List<double[]> predictions = ofAllKinds(50, 70);
    double[][][] found = cotangents(new LabelRule.Sampled(5), predictions, 9, null);
    for (int b = 0; b < predictions.size(); b++) {
      double[] p = predictions.get(b);
      ExampleRandom random = new ExampleRandom(9, b);
      for (double[] cotangent : found[b]) {
        double left = random.nextDouble();
        int drawn = 0;
        while (drawn < p.length - 1 && left >= p[drawn]) {
          left -= p[drawn++];
        }
        for (int c = 0; c < p.length; c++) {
          assertThat(cotangent[c])
              .as("example %d, class %d", b, c)
              .isCloseTo(c == drawn ? restOf(p, c) : -p[c], within(1e-15));
        }
      }
    }
  }

  /** Signs are by class, 64 from each number drawn; A is written out for one class at a time. */
  @Test
  void drawnSignsAreThoseOfEachExamplesStream() {
    List<double[]> predictions = ofAllKinds(20, 70);
    double[][][] found = cotangents(new LabelRule.Rademacher(2), predictions, 4, null);
    for (int b = 0; b < predictions.size(); b++) {
      double[] p = predictions.get(b);
      ExampleRandom random = new ExampleRandom(4, b);
      for (double[] cotangent : found[b]) {
        double[] signs = new double[p.length];
        double along = 0;
        long bits = 0;
        for (int c = 0; c < p.length; c++) {
          bits = c % 64 == 0 ? random.nextLong() : bits >>> 1;
          signs[c] = (bits & 1) == 0 ? 1 : -1;
          along += Math.sqrt(p[c]) * signs[c];
        }
        for (int c = 0; c < p.length; c++) {
          assertThat(cotangent[c])
              .as("example %d, class %d", b, c)
              .isCloseTo(Math.sqrt(p[c]) * signs[c] - p[c] * along, within(1e-14));
        }
      }
    }
  }

  /** With numbers of classes at which rules become exact for some or all examples. */
  static Stream<Arguments> everyRule() {
    return Stream.of(
            "exact",
            "adaptive:3",
            "lowrank:3",
            "rademacher:2",
            "top:3",
            "sampled:2",
            "argmax",
            "true",
            "batch-square")
        .flatMap(rule ->
            IntStream.of(1, 2, 5, 9, 17, 70).mapToObj(classes -> Arguments.of(rule, classes)));
  }

  /** Neither the other examples of a batch nor an example's place in it change what it is given. */
  @ParameterizedTest(name = "{0}, {1} classes")
  @MethodSource("everyRule")
  void noBatchChangesAnExample(String text, int classes) {
    List<double[]> predictions = ofAllKinds(30, classes);
    LabelRule rule = calibrated(text, predictions);
    long[] labels = new long[predictions.size()];
    Arrays.setAll(labels, b -> b % classes);
    double[][][] together = cotangents(rule, predictions, 6, labels);
    for (int b = 0; b < predictions.size(); b++) {
      BatchExamples one = new BatchExamples(6, new long[] {b}, new long[] {labels[b]});
      double[][] alone = cotangents(rule, List.of(predictions.get(b)), one)[0];
      for (int v = 0; v < together[b].length; v++) {
        double[] wanted = v < alone.length ? alone[v] : new double[classes];
        if (!Arrays.equals(together[b][v], wanted)) {
          assertThat(together[b][v])
              .as("example %d, probe %d", b, v)
              .containsExactly(wanted, within(0.0));
        }
      }
    }
  }

  /** Predictions from next to certain to next to even. */
  private static List<double[]> ofAllKinds(int count, int classes) {
    return IntStream.range(0, count)
        .mapToObj(b -> probabilities(classes, new double[] {0.1, 1, 3, 10, 40}[b % 5], b))
        .toList();
  }

  @Test
  void argmaxAndTrueTakeOneLabel() {
    double[] p = {0.2, 0.7, 0.1};
    assertThat(cotangents(new LabelRule.Argmax(), p)[0])
        .containsExactly(new double[] {-0.2, 0.3, -0.1}, within(1e-15));
    double[][] column = cotangents(new LabelRule.TrueLabel(), List.of(p), 0, new long[] {2})[0];
    assertThat(column[0]).containsExactly(new double[] {-0.2, -0.7, 0.9}, within(1e-15));
  }

  @Test
  void batchSquareIsTheGradientOfItsLoss() {
    double[] z = {0.3, -1.2, 2.0};
    double[] cotangent = cotangents(new LabelRule.BatchSquare(), softmax(z))[0];
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
    assertThat(LabelRule.parse(text).text()).isEqualTo(text);
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
    assertThatThrownBy(() -> LabelRule.parse(text))
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

  private static LabelRule calibrated(String text, List<double[]> predictions) {
    return (LabelRule) LabelRule.parse(text).calibrated(predictions);
  }

  private static double[][] cotangents(LabelRule labels, double[] p) {
    return cotangents(labels, List.of(p), 0, null)[0];
  }

  /** The cotangents of a batch, [B][V][K]. */
  private static double[][][] cotangents(
      LabelRule rule, List<double[]> predictions, long seed, long @Nullable [] labels) {
    return cotangents(rule, predictions, BatchExamples.from(seed, 0, predictions.size(), labels));
  }

  private static double[][][] cotangents(
      LabelRule rule, List<double[]> predictions, BatchExamples examples) {
    int classes = predictions.getFirst().length;
    try (PointerScope scope = new PointerScope()) {
      Tensor p = tensor(predictions);
      Tensor found = rule.cotangents(p, examples);
      assertThat(found.sizes().vec().get())
          .containsExactly(predictions.size(), found.size(1), classes);
      double[][] rows = rows(found, classes);
      int probes = (int) found.size(1);
      double[][][] byExample = new double[predictions.size()][][];
      Arrays.setAll(byExample, b -> Arrays.copyOfRange(rows, b * probes, (b + 1) * probes));
      return byExample;
    }
  }

  private static Tensor tensor(List<double[]> rows) {
    return Tensors.copyOf(
        rows.stream().flatMapToDouble(Arrays::stream).toArray(),
        rows.size(),
        rows.getFirst().length);
  }

  static LabelCovariance covariance(double[] p) {
    return new LabelCovariance(tensor(List.of(p)));
  }

  /** The values of a tensor whose last dimension is of that size. */
  static double[][] rows(Tensor tensor, int size) {
    double[] values = tensor.numel() == 0 ? new double[0] : Tensors.doubles(tensor);
    double[][] rows = new double[values.length / size][];
    Arrays.setAll(rows, i -> Arrays.copyOfRange(values, i * size, (i + 1) * size));
    return rows;
  }

  /** Probabilities from the largest to the smallest. */
  static double[] falling(int classes, double spread, long seed) {
    double[] rising = Arrays.stream(probabilities(classes, spread, seed)).sorted().toArray();
    double[] falling = new double[classes];
    Arrays.setAll(falling, c -> rising[classes - 1 - c]);
    return falling;
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
