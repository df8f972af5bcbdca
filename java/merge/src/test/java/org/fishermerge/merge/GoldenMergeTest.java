package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Merges of the reference models against FusionBench's published formula in float64. */
final class GoldenMergeTest {
  @TempDir Path folder;

  @ParameterizedTest(name = "{0} {1} {3}")
  @CsvSource({
    "clip-tiny, batch_square.normalize_true, batch_square, MODEL, 1 1 1, 39",
    "clip-tiny, batch_square.normalize_false, batch_square, NONE, 1 1 1, 39",
    "clip-tiny, exact.normalize_true, exact, MODEL, 1 1 1, 39",
    "clip-tiny, exact.normalize_false, exact, NONE, 1 1 1, 39",
    "clip-tiny, exact.coefficients_5_3_2, exact, MODEL, 0.5 0.3 0.2, 39",
    "clip-tiny, simple_average, '', MODEL, 1 1 1, 39",
    "gpt2-tiny, batch_square.normalize_true, batch_square, MODEL, 1 1, 28",
    "gpt2-tiny, exact.normalize_true, exact, MODEL, 1 1, 28",
  })
  void matchesTheReference(
      String pool,
      String variant,
      String fisher,
      Normalization normalization,
      String coefficients,
      int tensors) {
    List<String> models =
        pool.equals("clip-tiny") ? List.of("alpha", "beta", "gamma") : List.of("cola", "mnli");
    Path output = folder.resolve("merged");
    MergeRule rule =
        fisher.isEmpty()
            ? new Average()
            : new DiagonalFisher(normalization, DiagonalFisher.DEFAULT_MINIMAL_FISHER);
    MergeRequest.Builder request =
        MergeRequest.builder(Golden.path(pool + "/pretrained"), output, rule);
    double[] shares =
        Pattern.compile(" ").splitAsStream(coefficients).mapToDouble(Double::parseDouble).toArray();
    for (int i = 0; i < models.size(); i++) {
      String model = models.get(i);
      Optional<Path> fisherFile =
          rule.statistics().stream()
              .findFirst()
              .map(kind ->
                  TestTensors.extract(
                      Golden.path(pool + "/expected.safetensors"),
                      model + ".fisher." + fisher + ".",
                      folder.resolve(model + ".fisher.safetensors")));
      request.model(new MergeSource(Golden.path(pool + "/" + model), fisherFile, shares[i]));
    }
    MergePlan plan;
    try (MergeSession session = MergeSession.open(request.build());
        Kernels kernels = Kernels.open()) {
      plan = session.plan();
      session.run(kernels, ProgressListener.NONE);
    }

    Map<String, TestTensors.Data> merged = TestTensors.read(output);
    Map<String, TestTensors.Data> base = TestTensors.read(Golden.path(pool + "/pretrained"));
    Map<String, TestTensors.Data> expected =
        TestTensors.read(
            TestTensors.extract(
                Golden.path(pool + "/expected_merged.safetensors"),
                variant + ".",
                folder.resolve("expected.safetensors")));
    assertThat(expected).hasSize(tensors);
    assertThat(plan.merged()).hasSize(tensors);
    assertThat(merged.keySet()).isEqualTo(base.keySet());
    merged.forEach((name, data) -> {
      TestTensors.Data wanted =
          expected.entrySet().stream()
              .filter(
                  e -> ParameterNames.canonical(e.getKey()).equals(ParameterNames.canonical(name)))
              .findFirst()
              .map(Map.Entry::getValue)
              .orElse(null);
      if (wanted == null) {
        assertThat(data.values()).as(name).isEqualTo(baseOf(base, name).values());
      } else {
        assertThat(data.shape()).as(name).isEqualTo(wanted.shape());
        double scale = 0;
        for (double value : wanted.values()) {
          scale = Math.max(scale, Math.abs(value));
        }
        for (int i = 0; i < wanted.values().length; i++) {
          assertThat(data.values()[i])
              .as("%s[%d]", name, i)
              .isCloseTo(wanted.values()[i], org.assertj.core.data.Offset.offset(1e-6 * scale));
        }
      }
    });
  }

  private static TestTensors.Data baseOf(Map<String, TestTensors.Data> base, String name) {
    TestTensors.Data data = base.get(name);
    assertThat(data).as(name).isNotNull();
    return java.util.Objects.requireNonNull(data);
  }
}
