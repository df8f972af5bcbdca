package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.objective.Objective;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** GPT-2 classification against transformers and float64 autograd. */
final class Gpt2GoldenTest {
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
    return Gpt2GoldenTask.NAMES.stream();
  }

  static Stream<Arguments> columns() {
    return tasks().flatMap(task -> Stream.of(0, 1, 28).map(extra -> Arguments.of(task, extra)));
  }

  @ParameterizedTest
  @MethodSource("columns")
  void logitsMatch(String name, int extraColumns) {
    Gpt2GoldenTask task = new Gpt2GoldenTask(name);
    float[] expected = task.logits();
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    try (TextClassifier classifier = task.classifier()) {
      int width = Gpt2GoldenTask.TOKENS + extraColumns;
      float[] logits = classifier.logits(new TokenBatch(task.texts(), width));
      assertThat(logits).hasSameSizeAs(expected);
      for (int j = 0; j < expected.length; j++) {
        assertThat((double) logits[j]).isCloseTo(expected[j], within(1e-5 * largest));
      }
    }
  }

  /** transformers finds the last token by the pad id; here the mask must agree with that. */
  @ParameterizedTest
  @MethodSource("tasks")
  void paddingIsWhatTheMaskLeavesOut(String name) {
    Gpt2GoldenTask task = new Gpt2GoldenTask(name);
    List<long[]> texts = task.texts();
    assertThat(texts.stream().mapToInt(text -> text.length).distinct().count()).isGreaterThan(1);
    try (TextClassifier classifier = task.classifier()) {
      for (int b = 0; b < texts.size(); b++) {
        assertThat(classifier.realTokens(task.padded().get(b), false, "text"))
            .isEqualTo(texts.get(b));
      }
    }
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
    assertFisher(name, labels, Gpt2GoldenTask.inOrder(batchSize), 0);
  }

  @ParameterizedTest
  @MethodSource("columns")
  void fisherDoesNotDependOnPadding(String name, int extraColumns) {
    assertFisher(name, "exact", Gpt2GoldenTask.inOrder(4), extraColumns);
  }

  @ParameterizedTest
  @MethodSource("tasks")
  void fisherDoesNotDependOnWhatRunsTogether(String name) {
    assertFisher(name, "exact", List.of(List.of(5, 0, 3), List.of(2), List.of(4, 1)), 0);
  }

  @ParameterizedTest
  @MethodSource("columns")
  void batchSquareMatchesFusionBench(String name, int extraColumns) {
    assertFisher(name, "batch-square", Gpt2GoldenTask.inOrder(4), extraColumns);
  }

  private static void assertFisher(
      String name, String labels, List<List<Integer>> batches, int extraColumns) {
    Gpt2GoldenTask task = new Gpt2GoldenTask(name);
    Map<String, float[]> actual =
        task.estimate(Objective.parse(labels), batches, extraColumns, kernels);
    String definition =
        switch (labels) {
          case "true" -> "empirical";
          case "batch-square" -> "batch_square";
          default -> labels;
        };
    assertThat(GoldenTask.differences(actual, task.fisher(definition), 1e-4)).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("tasks")
  void batchSquareDependsOnTheBatchSize(String name) {
    Gpt2GoldenTask task = new Gpt2GoldenTask(name);
    Map<String, float[]> actual =
        task.estimate(Objective.parse("batch-square"), Gpt2GoldenTask.inOrder(3), 0, kernels);
    assertThat(GoldenTask.differences(actual, task.fisher("batch_square"), 1e-4)).isNotEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"exact", "batch-square"})
  void theSameBitsForAnyNumberOfThreads(String labels) {
    Gpt2GoldenTask task = new Gpt2GoldenTask("mnli");
    Objective rule = Objective.parse(labels);
    Map<String, float[]> expected = task.estimate(rule, Gpt2GoldenTask.inOrder(4), 0, kernels);
    for (int threads : List.of(1, 2, 3)) {
      try (Kernels others =
          Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads))) {
        task.estimate(rule, Gpt2GoldenTask.inOrder(4), 0, others)
            .forEach((parameter, values) ->
                assertThat(values).as(parameter).isEqualTo(expected.get(parameter)));
      }
    }
  }
}
