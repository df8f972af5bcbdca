package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.Objective;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The tower, head and estimator against transformers and float64 autograd. */
final class ClipGoldenTest {
  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Kernels.open();
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  static Stream<String> tasks() {
    return GoldenTask.NAMES.stream();
  }

  @ParameterizedTest
  @MethodSource("tasks")
  void logitsMatch(String name) {
    GoldenTask task = new GoldenTask(name);
    float[] expected = task.values("logits");
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    try (ClipVisionTower tower = task.tower();
        ZeroShotHead head = task.head()) {
      float[] logits =
          tower
              .under(head)
              .logits(
                  new Pixels(
                      MemorySegment.ofArray(task.values("pixel_values")), task.labels().length));
      assertThat(logits).hasSameSizeAs(expected);
      for (int j = 0; j < expected.length; j++) {
        assertThat((double) logits[j]).isCloseTo(expected[j], within(1e-5 * largest));
      }
    }
  }

  private static org.assertj.core.data.Offset<Double> within(double tolerance) {
    return org.assertj.core.api.Assertions.within(tolerance);
  }

  static Stream<Arguments> definitions() {
    return tasks()
        .flatMap(task ->
            Stream.of("exact", "argmax", "true")
                .flatMap(labels ->
                    Stream.of(1, 2, 5, 6).map(batch -> Arguments.of(task, labels, batch))));
  }

  @ParameterizedTest
  @MethodSource("definitions")
  void fisherMatchesForAnyBatchSize(String name, String labels, int batchSize) {
    GoldenTask task = new GoldenTask(name);
    Map<String, float[]> actual = task.estimate(Objective.parse(labels), batchSize, 0, kernels);
    String definition = labels.equals("true") ? "empirical" : labels;
    assertThat(GoldenTask.differences(actual, task.fisher(definition), 1e-4)).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("tasks")
  void batchSquareMatchesFusionBench(String name) {
    GoldenTask task = new GoldenTask(name);
    Map<String, float[]> actual = task.estimate(Objective.parse("batch-square"), 4, 0, kernels);
    assertThat(GoldenTask.differences(actual, task.fisher("batch_square"), 1e-4)).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("tasks")
  void batchSquareDependsOnTheBatchSize(String name) {
    GoldenTask task = new GoldenTask(name);
    Map<String, float[]> actual = task.estimate(Objective.parse("batch-square"), 3, 0, kernels);
    assertThat(GoldenTask.differences(actual, task.fisher("batch_square"), 1e-4)).isNotEmpty();
  }

  /** A draw's square has mean F, so the mean over draws must approach the exact Fisher. */
  @ParameterizedTest
  @MethodSource("tasks")
  void sampledLabelsAreUnbiased(String name) {
    GoldenTask task = new GoldenTask(name);
    int estimates = 10;
    Map<String, float[]> mean = new TreeMap<>();
    task.estimates(
        Objective.parse("sampled:16"),
        estimates,
        4,
        kernels,
        estimate ->
            estimate.forEach((parameter, values) -> {
              float[] sum = mean.computeIfAbsent(parameter, key -> new float[values.length]);
              for (int j = 0; j < sum.length; j++) {
                sum[j] += values[j] / estimates;
              }
            }));
    double error = relativeError(mean, task.fisher("exact"));
    // 640 draws of 6 examples: one standard error is about 0.03 here.
    assertThat(error)
        .as("relative error of the mean over seeds 0..%d", estimates - 1)
        .isLessThan(0.12);
  }

  private static double relativeError(Map<String, float[]> actual, Map<String, float[]> expected) {
    double difference = 0;
    double norm = 0;
    for (Map.Entry<String, float[]> entry : expected.entrySet()) {
      float[] ours = Objects.requireNonNull(actual.get(entry.getKey()));
      for (int j = 0; j < ours.length; j++) {
        difference += Math.pow(ours[j] - entry.getValue()[j], 2);
        norm += Math.pow(entry.getValue()[j], 2);
      }
    }
    return Math.sqrt(difference / norm);
  }
}
