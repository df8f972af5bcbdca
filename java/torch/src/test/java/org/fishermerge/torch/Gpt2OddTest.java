package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.objective.Objective;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * GPT-2 of odd sizes against float64 autograd: five classes and so four probes, scores divided by
 * the layer's number, texts of one token and of all positions, tokens that repeat within a text.
 */
final class Gpt2OddTest {
  private static final int EXAMPLES = 7;
  private static final int TOKENS = 19;

  private static Checkpoint expected() {
    return Checkpoint.open(Golden.path("gpt2-odd/expected.safetensors"));
  }

  private static long[] longs(String name) {
    try (Checkpoint expected = expected()) {
      return expected.segment(name).toArray(ValueLayout.JAVA_LONG_UNALIGNED);
    }
  }

  private static List<long[]> texts() {
    long[] ids = longs("input_ids");
    long[] mask = longs("attention_mask");
    List<long[]> texts = new ArrayList<>();
    for (int b = 0; b < EXAMPLES; b++) {
      long length = Arrays.stream(mask, b * TOKENS, (b + 1) * TOKENS).sum();
      texts.add(Arrays.copyOfRange(ids, b * TOKENS, b * TOKENS + (int) length));
    }
    return texts;
  }

  private static TextClassifier classifier() {
    try (Checkpoint model = Checkpoint.open(Golden.path("gpt2-odd"))) {
      return Architectures.text(model).orElseThrow().load(model);
    }
  }

  @Test
  void logitsMatch() {
    try (Checkpoint expected = expected();
        TextClassifier classifier = classifier()) {
      float[] logits = classifier.logits(TokenBatch.of(texts()));
      float[] wanted = expected.floats("logits");
      assertThat(logits).hasSameSizeAs(wanted);
      for (int j = 0; j < wanted.length; j++) {
        assertThat(logits[j]).isCloseTo(wanted[j], within(1e-5f));
      }
    }
  }

  @ParameterizedTest(name = "{0}, batches of {1}, {2} columns more")
  @CsvSource({
    "exact, 1, 0",
    "exact, 3, 0",
    "exact, 7, 0",
    "exact, 7, 3",
    "adaptive:4, 4, 0",
    "lowrank:3, 7, 0",
    "batch-square, 3, 0",
    "batch-square, 3, 2",
  })
  void fisherMatches(String labels, int batchSize, int extraColumns) {
    Objective rule = Objective.parse(labels);
    Map<String, float[]> actual = new TreeMap<>();
    List<long[]> texts = texts();
    try (Kernels kernels = Kernels.open();
        TextClassifier classifier = classifier()) {
      try (ForwardPass pass = classifier.forward(TokenBatch.of(texts))) {
        rule = rule.calibrated(pass.predictions());
      }
      try (FisherEstimator estimator = new FisherEstimator(classifier, rule, 0, kernels)) {
        for (int first = 0; first < EXAMPLES; first += batchSize) {
          TokenBatch tight =
              TokenBatch.of(texts.subList(first, Math.min(EXAMPLES, first + batchSize)));
          TokenBatch batch = new TokenBatch(tight.texts(), tight.width() + extraColumns);
          try (ForwardPass pass = classifier.forward(batch)) {
            estimator.add(pass, null);
          }
        }
        estimator
            .finish()
            .forEach((name, sum) -> {
              float[] mean = sum.toArray(ValueLayout.JAVA_FLOAT);
              for (int j = 0; j < mean.length; j++) {
                mean[j] /= EXAMPLES;
              }
              actual.put(name, mean);
            });
      }
    }
    String prefix = labels.equals("batch-square") ? "fisher.batch_square." : "fisher.exact.";
    Map<String, float[]> wanted = new TreeMap<>();
    try (Checkpoint expected = expected()) {
      for (String name : expected.tensors().keySet()) {
        if (name.startsWith(prefix)) {
          wanted.put(
              ParameterNames.canonical(name.substring(prefix.length())), expected.floats(name));
        }
      }
    }
    assertThat(wanted).hasSize(40);
    assertThat(GoldenTask.differences(actual, wanted, 1e-4)).isEmpty();
  }
}
