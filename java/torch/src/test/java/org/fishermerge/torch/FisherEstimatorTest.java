package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.VisionTraining;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.LabelRule;
import org.fishermerge.torch.objective.Objective;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class FisherEstimatorTest {
  private static final GoldenTask TASK = new GoldenTask("beta");

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 7})
  void sameBitsForAnyThreadCountOfOurKernels(int threads) {
    try (Kernels one = kernels(1);
        Kernels many = kernels(threads)) {
      Map<String, float[]> expected = TASK.estimate(new LabelRule.Exact(), 5, 0, one);
      TASK.estimate(new LabelRule.Exact(), 5, 0, many)
          .forEach((name, values) -> assertThat(values).as(name).isEqualTo(expected.get(name)));
    }
  }

  /** Each with kernels of its own; the process's libtorch is one. */
  @Test
  void estimatorsAtOnceHaveTheBitsOfOne() throws Exception {
    Objective exact = new LabelRule.Exact();
    Map<String, float[]> expected;
    try (Kernels kernels = kernels(2)) {
      expected = TASK.estimate(exact, 3, 0, kernels);
    }
    try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
      List<Callable<Map<String, float[]>>> estimates =
          Collections.nCopies(
              12,
              () -> {
                try (Kernels kernels = kernels(2)) {
                  return TASK.estimate(exact, 3, 0, kernels);
                }
              });
      for (Future<Map<String, float[]>> estimate : threads.invokeAll(estimates)) {
        estimate
            .get()
            .forEach((name, values) -> assertThat(values).as(name).isEqualTo(expected.get(name)));
      }
    }
  }

  /** Sums and example count alike: what follows draws and adds as if nothing had been measured. */
  @ParameterizedTest
  @CsvSource({"exact, 1", "exact, 2", "adaptive:2, 1", "sampled:1, 1", "sampled:3, 2", "true, 2"})
  void measuringMemoryAddsNothing(String rule, int examples) {
    Objective labels = Objective.parse(rule);
    try (Kernels kernels = kernels(2)) {
      Map<String, float[]> expected = TASK.estimate(labels, 2, 3, kernels);
      TASK.estimate(labels, 2, 3, kernels, examples)
          .forEach((name, values) -> assertThat(values).as(name).isEqualTo(expected.get(name)));
    }
  }

  @Test
  void drawnLabelsDependOnTheSeedAndNotOnTheBatchSize() {
    Objective sampled = new LabelRule.Sampled(2);
    try (Kernels kernels = kernels(2)) {
      Map<String, float[]> first = TASK.estimate(sampled, 6, 1, kernels);
      assertThat(GoldenTask.differences(TASK.estimate(sampled, 2, 1, kernels), first, 1e-4))
          .isEmpty();
      assertThat(GoldenTask.differences(TASK.estimate(sampled, 6, 2, kernels), first, 1e-2))
          .isNotEmpty();
    }
  }

  /**
   * Over 200 draws for each example, five in each of 40 estimates, the mean of each tensor's mass
   * agrees with the exact one within four standard errors, and a biased rule fails the same
   * comparison.
   */
  @ParameterizedTest
  @ValueSource(strings = {"lowrank:1", "rademacher:1", "top:1", "adaptive:2"})
  void randomRulesAreUnbiasedPerTensor(String rule) {
    int estimates = 40;
    try (Kernels kernels = kernels(2)) {
      Map<String, float[]> exact = TASK.estimate(new LabelRule.Exact(), 6, 0, kernels);
      Map<String, double[]> moments = new HashMap<>(); // sum and sum of squares of the masses
      TASK.estimates(
          Objective.parse(rule),
          estimates,
          5,
          kernels,
          estimate ->
              estimate.forEach((name, values) -> {
                double mass = mass(values);
                double[] sums = moments.computeIfAbsent(name, n -> new double[2]);
                sums[0] += mass;
                sums[1] += mass * mass;
              }));
      Map<String, float[]> argmax = TASK.estimate(new LabelRule.Argmax(), 6, 0, kernels);
      double largest =
          exact.values().stream().mapToDouble(FisherEstimatorTest::mass).max().orElseThrow();
      int biased = 0;
      for (String name : exact.keySet()) {
        double expected = mass(exact.get(name));
        if (expected < 1e-9 * largest) {
          continue; // a key bias has no effect: what is there is rounding
        }
        double[] sums = Objects.requireNonNull(moments.get(name));
        double mean = sums[0] / estimates;
        double variance = Math.max(0, sums[1] / estimates - mean * mean);
        double error = Math.sqrt(variance / (estimates - 1));
        assertThat(error).as("standard error of %s", name).isPositive();
        // The last term is fp32's rounding of both sides.
        assertThat(mean).as(name).isCloseTo(expected, within(4 * error + 1e-5 * expected));
        if (Math.abs(mass(Objects.requireNonNull(argmax.get(name))) - expected)
            > 4 * error + 1e-5 * expected) {
          biased++;
        }
      }
      assertThat(biased).as("tensors whose argmax mass is off").isGreaterThan(exact.size() / 2);
    }
  }

  private static double mass(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum;
  }

  /** Examples of one batch that take different numbers of probes go back in groups. */
  @ParameterizedTest
  @ValueSource(strings = {"adaptive:2", "adaptive:3", "lowrank:1", "top:1", "rademacher:3"})
  void drawnSignsDependOnTheSeedAndNotOnTheBatchSize(String rule) {
    Objective labels = Objective.parse(rule);
    try (Kernels kernels = kernels(2)) {
      Map<String, float[]> one = TASK.estimate(labels, 1, 1, kernels);
      for (int batch : new int[] {2, 5, 6}) {
        assertThat(GoldenTask.differences(TASK.estimate(labels, batch, 1, kernels), one, 1e-4))
            .isEmpty();
      }
      assertThat(GoldenTask.differences(TASK.estimate(labels, 6, 2, kernels), one, 1e-3))
          .isNotEmpty();
    }
  }

  /**
   * With two classes every rule's cotangent is a multiple of (1, -1), so the square of a batch of
   * one is the exact Fisher information times the ratio of the multiples' squares.
   */
  @Test
  void batchSquaresOfOneExample() {
    GoldenTask task = new GoldenTask("gamma");
    float[] logits = task.values("logits");
    float[] pixels = task.values("pixel_values");
    try (Kernels kernels = kernels(2);
        ClipVisionTower tower = task.tower();
        ZeroShotHead head = task.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      for (int b = 0; b < 6; b++) {
        MemorySegment one =
            MemorySegment.ofArray(
                Arrays.copyOfRange(pixels, b * GoldenTask.PIXELS, (b + 1) * GoldenTask.PIXELS));
        double p = 1 / (1 + Math.exp(logits[2 * b + 1] - logits[2 * b]));
        double multiple = Math.sqrt(p) - p * (Math.sqrt(p) + Math.sqrt(1 - p));
        double ratio = multiple * multiple / (p * (1 - p));
        try (FisherEstimator exact =
                new FisherEstimator(classifier, new LabelRule.Exact(), 0, kernels);
            FisherEstimator square =
                new FisherEstimator(classifier, new LabelRule.BatchSquare(), 0, kernels)) {
          try (ForwardPass pass = classifier.forward(new Pixels(one, 1))) {
            exact.add(pass, null);
          }
          try (ForwardPass pass = classifier.forward(new Pixels(one, 1))) {
            square.add(pass, null);
          }
          Map<String, float[]> expected = new HashMap<>();
          exact
              .finish()
              .forEach((name, sum) -> {
                float[] values = sum.toArray(ValueLayout.JAVA_FLOAT);
                for (int j = 0; j < values.length; j++) {
                  values[j] *= (float) ratio;
                }
                expected.put(name, values);
              });
          Map<String, float[]> actual = new HashMap<>();
          square
              .finish()
              .forEach((name, sum) -> actual.put(name, sum.toArray(ValueLayout.JAVA_FLOAT)));
          // p comes from fp32 logits, and the multiple cancels near p = 1/2.
          assertThat(GoldenTask.differences(actual, expected, 1e-3)).as("example %d", b).isEmpty();
        }
      }
    }
  }

  @Test
  void namesTheExampleWhoseLogitsAreNotFinite() {
    float[] pixels = TASK.values("pixel_values");
    pixels[4 * GoldenTask.PIXELS + 17] = Float.NaN;
    withEstimator(
        "exact",
        (classifier, estimator) ->
            assertThatThrownBy(() -> add(classifier, estimator, pixels, null))
                .isInstanceOf(InputException.class)
                .hasMessageContaining("example 4")
                .hasMessageContaining("NaN"));
  }

  @Test
  void refusesLabelsOutsideTheHead() {
    long[] labels = TASK.labels();
    labels[2] = TASK.classes();
    withEstimator(
        "true",
        (classifier, estimator) ->
            assertThatThrownBy(
                    () -> add(classifier, estimator, TASK.values("pixel_values"), labels))
                .isInstanceOf(InputException.class)
                .hasMessageContaining("example 2")
                .hasMessageContaining("label " + TASK.classes()));
  }

  @Test
  void refusesMissingLabelsAndNoExamples() {
    withEstimator(
        "true",
        (classifier, estimator) -> {
          assertThatThrownBy(() -> add(classifier, estimator, TASK.values("pixel_values"), null))
              .isInstanceOf(InputException.class)
              .hasMessageContaining("no labels");
          assertThatThrownBy(estimator::finish)
              .isInstanceOf(InputException.class)
              .hasMessageContaining("at least one");
        });
  }

  @Test
  void aHeadOfAnotherWidthIsRefused() {
    try (ClipVisionTower tower = TASK.tower();
        ZeroShotHead narrow = ZeroShotHead.of(new float[2 * 5], 5, 10, new float[3 * 2], 3)) {
      assertThatThrownBy(() -> tower.under(narrow))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("24 wide")
          .hasMessageContaining("takes 5");
    }
  }

  /** The trainer is the yardstick: its gradient must be the gradient of the same model. */
  @Test
  void trainingLossIsTheEvaluatorsLoss() {
    MemorySegment pixels = MemorySegment.ofArray(TASK.values("pixel_values"));
    try (ClipVisionTower tower = TASK.tower();
        ZeroShotHead head = TASK.head();
        var start = Checkpoint.open(Golden.path("clip-tiny/beta"));
        VisionTraining training = new VisionTraining(start)) {
      Accuracy accuracy = new Accuracy();
      accuracy.add(
          tower.under(head).logits(new Pixels(pixels, TASK.labels().length)), TASK.labels());
      double first = training.forwardBackward(head, pixels, TASK.labels());
      assertThat(first).isCloseTo(accuracy.loss(), within(1e-4));
      training.step(1e-3);
      double second = training.forwardBackward(head, pixels, TASK.labels());
      assertThat(second).isLessThan(first);
    }
  }

  private interface Use {
    void with(NetworkClassifier<Pixels> classifier, FisherEstimator estimator);
  }

  private static void add(
      NetworkClassifier<Pixels> classifier,
      FisherEstimator estimator,
      float[] pixels,
      long @Nullable [] labels) {
    try (ForwardPass pass = classifier.forward(new Pixels(MemorySegment.ofArray(pixels), 6))) {
      estimator.add(pass, labels);
    }
  }

  private static void withEstimator(String labels, Use use) {
    try (Kernels kernels = kernels(2);
        ClipVisionTower tower = TASK.tower();
        ZeroShotHead head = TASK.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      try (FisherEstimator estimator =
          new FisherEstimator(classifier, Objective.parse(labels), 0, kernels)) {
        use.with(classifier, estimator);
      }
    }
  }

  /** Batches do not fall together with blocks, and it is saved in the middle of one. */
  @Test
  void theSamplingErrorGoesOnFromWhatWasSaved(@TempDir Path folder) {
    Objective sampled = new LabelRule.Sampled(1);
    Path file = folder.resolve("progress");
    try (Kernels kernels = kernels(2);
        Arena arena = Arena.ofConfined();
        ClipVisionTower tower = TASK.tower();
        ZeroShotHead head = TASK.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      MemorySegment pixels =
          arena.allocateFrom(ValueLayout.JAVA_FLOAT, TASK.values("pixel_values"));
      Map<String, MemorySegment> whole;
      double expected;
      try (FisherEstimator estimator = new FisherEstimator(classifier, sampled, 1, kernels);
          FisherEstimator stopped = new FisherEstimator(classifier, sampled, 1, kernels);
          FisherEstimator resumed = new FisherEstimator(classifier, sampled, 1, kernels)) {
        estimator.trackSamplingError();
        for (int batch = 0; batch < 40; batch++) {
          add(estimator, classifier, pixels);
        }
        estimator.finish();
        expected = estimator.samplingError().orElseThrow();
        assertThat(expected).isBetween(0.01, 1.0);

        stopped.trackSamplingError();
        for (int batch = 0; batch < 13; batch++) {
          add(stopped, classifier, pixels);
        }
        assertThat(stopped.samplingError().orElseThrow()).isNotEqualTo(expected);
        stopped.save(file, "run", 6);
        FisherProgress progress = FisherProgress.read(file).orElseThrow();
        assertThat(resumed.resume(file, progress)).as("without an error to go on from").isFalse();
        resumed.trackSamplingError();
        assertThat(resumed.resume(file, progress)).isTrue();
        for (int batch = 13; batch < 40; batch++) {
          add(resumed, classifier, pixels);
        }
        whole = resumed.finish();
        assertThat(resumed.samplingError()).hasValue(expected);
        estimator
            .sums()
            .forEach((name, sum) ->
                assertThat(sum.mismatch(Objects.requireNonNull(whole.get(name))))
                    .as(name)
                    .isEqualTo(-1));
      }
    }
  }

  private static void add(
      FisherEstimator estimator, NetworkClassifier<Pixels> classifier, MemorySegment pixels) {
    try (ForwardPass pass = classifier.forward(new Pixels(pixels, 6))) {
      estimator.add(pass, null);
    }
  }

  /** Batch squares have none, and a run that is too short does not know its own. */
  @ParameterizedTest
  @CsvSource({"batch-square, 20", "sampled:1, 5"})
  void whereThereIsNoSamplingError(String rule, int batches) {
    try (Kernels kernels = kernels(2);
        Arena arena = Arena.ofConfined();
        ClipVisionTower tower = TASK.tower();
        ZeroShotHead head = TASK.head();
        FisherEstimator estimator =
            new FisherEstimator(tower.under(head), Objective.parse(rule), 1, kernels)) {
      MemorySegment pixels =
          arena.allocateFrom(ValueLayout.JAVA_FLOAT, TASK.values("pixel_values"));
      estimator.trackSamplingError();
      for (int batch = 0; batch < batches; batch++) {
        add(estimator, tower.under(head), pixels);
      }
      estimator.finish();
      assertThat(estimator.samplingError()).isEmpty();
    }
  }

  private static Kernels kernels(int threads) {
    return Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads));
  }
}
