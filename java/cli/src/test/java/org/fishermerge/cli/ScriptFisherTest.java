package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.QualifiedName;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.cli.TestTensors.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code fisher --torchscript} on softmax regression, whose Fisher information is known: with
 * logits W x + b it is p_c (1 - p_c) x_d^2 for W and p_c (1 - p_c) for b.
 */
final class ScriptFisherTest {
  private static final int CLASSES = 3;
  private static final int FEATURES = 4;
  private static final int EXAMPLES = 7;
  private static final float[] WEIGHT = wave(CLASSES * FEATURES, 0.9);
  private static final float[] BIAS = wave(CLASSES, 1.7);
  private static final float[] INPUTS = wave(EXAMPLES * FEATURES, 2.3);

  @TempDir static Path folder;

  @BeforeAll
  static void write() {
    JitModule module = new JitModule(new QualifiedName("Regression"));
    module.register_parameter(
        "weight", torch.from_blob(new FloatPointer(WEIGHT), CLASSES, FEATURES).clone(), false);
    module.register_parameter(
        "bias", torch.from_blob(new FloatPointer(BIAS), CLASSES).clone(), false);
    module.register_parameter("spare", torch.zeros(2), false);
    module.define(
        "def forward(self, x):\n  return {'scores': torch.linear(x, self.weight, self.bias)}\n");
    module.save(folder.resolve("regression.pt").toString());

    Map<String, Tensor> data = new TreeMap<>();
    data.put("some.x", Tensor.of(List.of((long) EXAMPLES, (long) FEATURES), INPUTS));
    data.put("some.few", Tensor.of(List.of(2L, 2L), 1, 2, 3, 4));
    data.put("some.narrow", Tensor.of(List.of((long) EXAMPLES, 2L), wave(EXAMPLES * 2, 1)));
    data.put("some.labels", Tensor.of(0, 1, 2, 0, 1, 2, 3));
    TestTensors.write(folder.resolve("data.safetensors"), data);

    Map<String, Tensor> model = new TreeMap<>();
    model.put("weight", Tensor.of(List.of((long) CLASSES, (long) FEATURES), WEIGHT));
    model.put("bias", Tensor.of(List.of((long) CLASSES), BIAS));
    model.put("spare", Tensor.of(List.of(2L), 0, 0));
    TestTensors.write(folder.resolve("model.safetensors"), model);
    TestTensors.write(
        folder.resolve("wider.safetensors"), with(model, "table", Tensor.of(List.of(1L), 5)));
    float[] other = WEIGHT.clone();
    other[5] += 1;
    TestTensors.write(
        folder.resolve("other.safetensors"),
        with(model, "weight", Tensor.of(List.of((long) CLASSES, (long) FEATURES), other)));
  }

  @Test
  void estimatesAndSaysWhichWayEachParameterWent() {
    CommandResult result = fisher("fisher.safetensors");
    assertThat(result.err())
        .isEqualTo(
            """
            TorchScript: 2 parameters in 1 layers are fused
            F = 0 for 1 parameters: spare (no gradient reaches it)
            """);
    assertThat(result.code()).isZero();
    assertThat(result.out())
        .contains("7 examples (lowrank:3: 2.00 backward passes per example, batches of 7)");
    TestTensors found = TestTensors.read(folder.resolve("fisher.safetensors"));
    assertThat(found.tensors().keySet()).containsExactly("bias", "spare", "weight");
    assertThat(found.metadata())
        .containsEntry("fisher_examples", "7")
        .containsEntry("fisher_dataset", "data.safetensors#some.")
        .containsEntry("fisher_labels", "lowrank:3");
    double[] bias = new double[CLASSES];
    double[] weight = new double[CLASSES * FEATURES];
    for (int n = 0; n < EXAMPLES; n++) {
      double[] p = probabilities(n);
      for (int c = 0; c < CLASSES; c++) {
        bias[c] += p[c] * (1 - p[c]);
        for (int d = 0; d < FEATURES; d++) {
          double x = INPUTS[n * FEATURES + d];
          weight[c * FEATURES + d] += p[c] * (1 - p[c]) * x * x;
        }
      }
    }
    assertClose(found.get("bias"), bias);
    assertClose(found.get("weight"), weight);
    assertThat(found.get("spare").floats()).containsExactly(0, 0);
  }

  @Test
  void mergesWithACheckpointOfTheSameTensors() {
    fisher("mine.safetensors");
    Path fisher = folder.resolve("mine.safetensors");
    Path out = folder.resolve("merged");
    merge("model.safetensors", fisher, out).succeeds();
    float[] merged = TestTensors.read(out).get("weight").floats();
    for (int i = 0; i < merged.length; i++) {
      // Both models are the same: so is their average, but for rounding.
      assertThat(merged[i]).isCloseTo(WEIGHT[i], within(1e-6f));
    }
    merge("other.safetensors", fisher, folder.resolve("no")).fails(1, "was not computed from");
  }

  @Test
  void belongsToTheCheckpointThatModelNames() {
    String wider = folder.resolve("wider.safetensors").toString();
    fisher("plain-fisher.safetensors");
    merge("wider.safetensors", folder.resolve("plain-fisher.safetensors"), folder.resolve("no"))
        .fails(1, "was not computed from", wider);
    assertThat(fisher("wider-fisher.safetensors", "--model", wider).code()).isZero();
    merge("wider.safetensors", folder.resolve("wider-fisher.safetensors"), folder.resolve("wide"))
        .succeeds();
    String other = folder.resolve("other.safetensors").toString();
    fisher("no.safetensors", "--model", other).fails(1, other, "weight", "regression.pt");
  }

  @Test
  void refusesWhatDoesNotFit() {
    fisher("no.safetensors", "--logits", "points").fails(1, "--logits points", "scores");
    CommandResult labels = fisher("no.safetensors", "--labels", "true", "--selection", "first");
    assertThat(labels.err().lines().toList().getLast()).contains("example 6: label 3", "3 classes");
    assertThat(labels.code()).isEqualTo(1);
    run("--inputs", "narrow").fails(1, "forward fails on inputs Float[1, 2]");
    run("--inputs", "x,few").fails(1, "some.few", "[2, 2]", "some.x", "[7, 4]");
    run("--inputs", "y").fails(1, "no tensor some.y", "some.x");
    run("--inputs", "x", "--examples", "0").fails(1, "--examples 0");
    run("--inputs", "x", "--labels", "sampled:0").fails(1, "sampled:0");
    run("--inputs", "x", "--clip", "c", "--heads", "h").fails(2, "--torchscript", "--clip");
    CommandResult.run("fisher", "--model", "m", "--data", "d", "--out", "o", "--inputs", "x")
        .fails(2, "--inputs", "--torchscript");
    CommandResult.run("fisher", "--data", "d", "--out", "o")
        .fails(2, "--model=DIR", "--torchscript");
    CommandResult.run(
            "fisher", "--torchscript", "none.pt", "--data", folder.toString(), "--out", "o")
        .fails(1, folder.toString(), ".safetensors");
    assertThat(Files.exists(folder.resolve("no.safetensors"))).isFalse();
  }

  /** With the inputs and the logits named as they are. */
  private static CommandResult fisher(String out, String... more) {
    List<String> arguments = new ArrayList<>(command(out));
    arguments.addAll(List.of("--inputs", "x"));
    if (!List.of(more).contains("--logits")) {
      arguments.addAll(List.of("--logits", "scores"));
    }
    arguments.addAll(List.of(more));
    return CommandResult.run(arguments);
  }

  private static CommandResult run(String... more) {
    List<String> arguments = new ArrayList<>(command("no.safetensors"));
    arguments.addAll(List.of(more));
    return CommandResult.run(arguments);
  }

  private static List<String> command(String out) {
    return List.of(
        "fisher",
        "--torchscript",
        folder.resolve("regression.pt").toString(),
        "--data",
        folder.resolve("data.safetensors") + "#some.",
        "--out",
        folder.resolve(out).toString());
  }

  private static CommandResult merge(String model, Path fisher, Path out) {
    String file = folder.resolve(model).toString();
    return CommandResult.run(
        List.of(
            "merge",
            "--base",
            file,
            "--model",
            file,
            "--fisher",
            fisher.toString(),
            "--out",
            out.toString()));
  }

  private static Map<String, Tensor> with(Map<String, Tensor> tensors, String name, Tensor tensor) {
    Map<String, Tensor> more = new TreeMap<>(tensors);
    more.put(name, tensor);
    return more;
  }

  private static double[] probabilities(int example) {
    double[] p = new double[CLASSES];
    for (int c = 0; c < CLASSES; c++) {
      double z = BIAS[c];
      for (int d = 0; d < FEATURES; d++) {
        z += WEIGHT[c * FEATURES + d] * INPUTS[example * FEATURES + d];
      }
      p[c] = Math.exp(z);
    }
    double sum = Arrays.stream(p).sum();
    return Arrays.stream(p).map(value -> value / sum).toArray();
  }

  private static float[] wave(int count, double step) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) Math.sin(step * (i + 1));
    }
    return values;
  }

  private static void assertClose(Tensor found, double[] expected) {
    double largest = Arrays.stream(expected).max().orElseThrow();
    float[] values = found.floats();
    assertThat(values).hasSize(expected.length);
    for (int i = 0; i < values.length; i++) {
      assertThat((double) values[i]).isCloseTo(expected[i], within(1e-5 * largest));
    }
  }
}
