package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.cli.TestTensors.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * TorchScript modules that have no Fisher information per example, saved by PyTorch
 * (java/testkit/oracles/script_modules.py and case 05), and one that has.
 */
final class ScriptCasesTest {
  private static final Path MODULES = Path.of("src/test/resources/script-modules");

  @TempDir Path folder;

  private CommandResult fisher(Path module, String inputs, Path data) {
    return CommandResult.run(
        "fisher",
        "--torchscript",
        module.toString(),
        "--inputs",
        inputs,
        "--data",
        data.toString(),
        "--labels",
        "exact",
        "--out",
        folder.resolve("out.safetensors").toString());
  }

  private Path data() {
    float[] values = new float[7 * 4 * 6];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) Math.sin(1.3 * (i + 1));
    }
    Path data = folder.resolve("data.safetensors");
    TestTensors.write(data, Map.of("x", Tensor.of(List.of(7L, 4L, 6L), values)));
    return data;
  }

  private void assertNothingWritten() {
    assertThat(Files.exists(folder.resolve("out.safetensors"))).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "dropout.pt, x, x.safetensors, aten::dropout",
    "batchnorm.pt, x, pictures.safetensors, aten::batch_norm"
  })
  void modulesTracedWhileTrainingAreRefused(
      String module, String inputs, String data, String operator) {
    Path copy = Cases.copy("case-05", folder);
    fisher(copy.resolve(module), inputs, copy.resolve(data))
        .fails(1, module, operator, "saved in training mode: call eval()", "torch.jit.trace");
    assertNothingWritten();
  }

  @ParameterizedTest
  @CsvSource({
    "functional-dropout, draws at random (aten::dropout)",
    "noise, draws at random (aten::randn)",
    "attention-dropout, saved in training mode",
    "no-statistics, track_running_stats=False",
    "softmax, probabilities",
    "sigmoid, it ends in a sigmoid"
  })
  void modulesWithoutAFisherPerExampleAreRefused(String module, String message) {
    fisher(MODULES.resolve(module + ".pt"), "x", data()).fails(1, module + ".pt", message);
    assertNothingWritten();
  }

  /** They may be logits all the same. */
  @Test
  void answersBetweenNoughtAndOneAreAWarning() {
    CommandResult result = fisher(MODULES.resolve("clamped.pt"), "x", data());
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err()).contains("clamped.pt", "between 0 and 1", "--logits");
  }

  @Test
  void dropoutAndBatchNormalisationInEvaluationModeAreTaken() {
    CommandResult result = fisher(MODULES.resolve("sound.pt"), "x", data());
    assertThat(result.code()).as(result.err()).isZero();
    // By PyTorch in float64.
    assertThat(TestTensors.read(folder.resolve("out.safetensors")).get("score.bias").floats())
        .containsExactly(new float[] {1.3757529f, 1.7477177f, 1.3097970f}, within(1e-5f));
  }
}
