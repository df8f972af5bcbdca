package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Classification models with a head of their own, from safetensors inputs alone, against logits of
 * transformers and Fishers by autograd in float64 of every parameter.
 */
final class ClassifierModelsTest {
  private static final List<String> MODELS = List.of("bert-tiny", "roberta-tiny", "vit-tiny");
  private static final List<String> TASKS = List.of("two", "four");
  private static final int EXAMPLES = 4;

  @TempDir Path folder;

  private static Path vectors(String model) {
    return Golden.path(model + "/expected.safetensors");
  }

  private static String folderOf(String model, String task) {
    return Golden.path(model + "/" + task).toString();
  }

  private static String data(String model, String task) {
    return vectors(model) + "#" + task + ".";
  }

  static Stream<Arguments> tasks() {
    return MODELS.stream().flatMap(m -> TASKS.stream().map(task -> Arguments.of(m, task)));
  }

  @ParameterizedTest(name = "{0} {1}")
  @MethodSource("tasks")
  void logitsAreThoseOfTransformers(String model, String task) {
    Tensor expected = TestTensors.read(vectors(model)).get(task + ".logits");
    for (int batch : List.of(1, 3, EXAMPLES)) {
      Path outputs = folder.resolve(batch + ".safetensors");
      CommandResult.run(
              "evaluate",
              "--model",
              folderOf(model, task),
              "--data",
              data(model, task),
              "--batch-size",
              Integer.toString(batch),
              "--outputs",
              outputs.toString())
          .succeeds();
      TestTensors.assertClose(
          "logits",
          TestTensors.read(outputs).get("logits"),
          1,
          expected,
          1e-5 * TestTensors.largest(expected.floats()));
    }
  }

  static Stream<Arguments> estimates() {
    List<Arguments> all = new ArrayList<>();
    tasks()
        .forEach(of -> {
          for (String labels : List.of("exact", "argmax", "true")) {
            for (int batch : List.of(1, 3)) {
              all.add(Arguments.of(of.get()[0], of.get()[1], labels, batch));
            }
          }
          all.add(Arguments.of(of.get()[0], of.get()[1], "batch-square", 3));
        });
    return all.stream();
  }

  @ParameterizedTest(name = "{0} {1} {2} batch {3}")
  @MethodSource("estimates")
  void fishersOfAllParametersAreThoseOfAutograd(
      String model, String task, String labels, int batch) {
    String definition =
        switch (labels) {
          case "true" -> "empirical";
          case "batch-square" -> "batch_square";
          default -> labels;
        };
    Map<String, Tensor> expected = new TreeMap<>();
    TestTensors.read(vectors(model))
        .under(task + ".fisher." + definition + ".")
        .forEach((name, mean) -> expected.put(nameInFiles(name), mean));
    assertThat(expected.keySet())
        .isEqualTo(TestTensors.read(Path.of(folderOf(model, task))).tensors().keySet());
    TestTensors sums =
        fisher(model, task, labels, "--batch-size", Integer.toString(batch), "--with-head");
    assertThat(sums.tensors().keySet()).isEqualTo(expected.keySet());
    double largest =
        expected.values().stream()
            .mapToDouble(mean -> TestTensors.largest(mean.floats()))
            .max()
            .orElseThrow();
    expected.forEach((name, mean) -> {
      double scale = Math.max(TestTensors.largest(mean.floats()), 1e-9 * largest);
      TestTensors.assertClose(name, sums.get(name), 1.0 / EXAMPLES, mean, 2e-4 * scale);
    });
  }

  /** The vectors name a ViT's parameters as its modules do, its files otherwise. */
  private static String nameInFiles(String name) {
    return name.startsWith("vit.layers.")
        ? name.replace("vit.layers.", "vit.encoder.layer.")
            .replace("attention.q_proj", "attention.attention.query")
            .replace("attention.k_proj", "attention.attention.key")
            .replace("attention.v_proj", "attention.attention.value")
            .replace("attention.o_proj", "attention.output.dense")
            .replace("mlp.fc1", "intermediate.dense")
            .replace("mlp.fc2", "output.dense")
        : name;
  }

  /** A ViT's state_dict, saved as it is, has the names of the modules. */
  @Test
  void aVitIsReadUnderEitherNames() throws IOException {
    Path renamed = Files.createDirectory(folder.resolve("renamed"));
    Files.copy(Path.of(folderOf("vit-tiny", "two"), "config.json"), renamed.resolve("config.json"));
    Map<String, Tensor> files = TestTensors.read(Path.of(folderOf("vit-tiny", "two"))).tensors();
    Map<String, Tensor> modules = new TreeMap<>();
    TestTensors.read(vectors("vit-tiny"))
        .under("two.fisher.exact.")
        .keySet()
        .forEach(name -> modules.put(name, files.get(nameInFiles(name))));
    TestTensors.write(renamed.resolve("model.safetensors"), modules);
    Path out = folder.resolve("renamed.safetensors");
    CommandResult.run(
            "fisher",
            "--model",
            renamed.toString(),
            "--data",
            data("vit-tiny", "two"),
            "--labels",
            "exact",
            "--selection",
            "first",
            "--with-head",
            "--out",
            out.toString())
        .succeeds();
    TestTensors other = fisher("vit-tiny", "two", "exact", "--with-head");
    TestTensors.read(out)
        .tensors()
        .forEach((name, sum) ->
            assertThat(sum.bytes()).as(name).isEqualTo(other.get(nameInFiles(name)).bytes()));
  }

  private TestTensors fisher(String model, String task, String labels, String... more) {
    Path out = folder.resolve(labels + ".safetensors");
    fisherFile(out, model, task, labels, more);
    return TestTensors.read(out);
  }

  private static void fisherFile(
      Path out, String model, String task, String labels, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "fisher",
                "--model",
                folderOf(model, task),
                "--data",
                data(model, task),
                "--labels",
                labels,
                "--selection",
                "first",
                "--overwrite",
                "--out",
                out.toString()));
    arguments.addAll(List.of(more));
    CommandResult.run(arguments).succeeds();
  }

  /** The head is left out unless it is asked for; what is left has the same values. */
  @ParameterizedTest
  @ValueSource(strings = {"bert-tiny", "roberta-tiny", "vit-tiny"})
  void aFisherCoversTheBackbone(String model) {
    TestTensors whole = fisher(model, "two", "exact", "--with-head");
    Map<String, Tensor> backbone = fisher(model, "two", "exact").tensors();
    assertThat(whole.tensors().keySet()).anyMatch(name -> name.startsWith("classifier."));
    assertThat(backbone.keySet())
        .containsExactlyInAnyOrderElementsOf(
            whole.tensors().keySet().stream()
                .filter(name -> !name.startsWith("classifier."))
                .toList());
    backbone.forEach(
        (name, sum) -> assertThat(sum.bytes()).as(name).isEqualTo(whole.get(name).bytes()));
  }

  /** The two models have heads of different widths, which keep out of the merge. */
  @ParameterizedTest
  @CsvSource({"bert-tiny", "roberta-tiny", "vit-tiny"})
  void backbonesMergeByTheirFishers(String model) {
    Path merged = folder.resolve("merged");
    Path two = folder.resolve("two.safetensors");
    Path four = folder.resolve("four.safetensors");
    fisherFile(two, model, "two", "exact");
    fisherFile(four, model, "four", "exact");
    CommandResult result =
        CommandResult.run(
            "merge",
            "--base",
            folderOf(model, "pretrained"),
            "--model",
            folderOf(model, "two"),
            "--fisher",
            two.toString(),
            "--model",
            folderOf(model, "four"),
            "--fisher",
            four.toString(),
            "--exclude",
            "classifier\\.",
            "--normalize",
            "none",
            "--out",
            merged.toString());
    assertThat(result.code()).as(result.err()).isZero();
    TestTensors a = TestTensors.read(Path.of(folderOf(model, "two")));
    TestTensors b = TestTensors.read(Path.of(folderOf(model, "four")));
    Map<String, Tensor> fisherA = TestTensors.read(two).tensors();
    TestTensors fisherB = TestTensors.read(four);
    TestTensors written = TestTensors.read(merged);
    fisherA.forEach((name, sum) -> {
      float[] fa = sum.floats();
      float[] fb = fisherB.get(name).floats();
      float[] values = written.get(name).floats();
      for (int j = 0; j < fa.length; j++) {
        double wa = fa[j] / (double) EXAMPLES + 1e-6;
        double wb = fb[j] / (double) EXAMPLES + 1e-6;
        double expected = (wa * a.get(name).floats()[j] + wb * b.get(name).floats()[j]) / (wa + wb);
        assertThat((double) values[j])
            .as("%s[%d]", name, j)
            .isCloseTo(expected, org.assertj.core.data.Offset.offset(1e-6));
      }
    });
  }

  static Stream<Arguments> padIds() {
    return Stream.of("bert-tiny", "roberta-tiny")
        .flatMap(m -> Stream.of("masked", "plain").map(kind -> Arguments.of(m, kind)));
  }

  /**
   * Texts that hold the pad token's id among their own tokens: a mask shows it, or another token
   * follows. RoBERTa gives such a token no position of its own, and in both models its row, and
   * RoBERTa's row of positions, have no gradient.
   */
  @ParameterizedTest(name = "{0} {1}")
  @MethodSource("padIds")
  void padIdsInsideTextsAreAsInTransformers(String model, String kind) {
    Path vectors = Golden.path(model + "/pad_ids.safetensors");
    String data = vectors + "#" + kind + ".";
    Path outputs = folder.resolve("outputs.safetensors");
    CommandResult.run(
            "evaluate",
            "--model",
            folderOf(model, "two"),
            "--data",
            data,
            "--outputs",
            outputs.toString())
        .succeeds();
    Tensor logits = TestTensors.read(vectors).get(kind + ".logits");
    TestTensors.assertClose(
        "logits",
        TestTensors.read(outputs).get("logits"),
        1,
        logits,
        1e-5 * TestTensors.largest(logits.floats()));
    Path out = folder.resolve("fisher.safetensors");
    CommandResult.run(
            "fisher",
            "--model",
            folderOf(model, "two"),
            "--data",
            data,
            "--labels",
            "exact",
            "--selection",
            "first",
            "--batch-size",
            "4",
            "--out",
            out.toString())
        .succeeds();
    TestTensors sums = TestTensors.read(out);
    Map<String, Tensor> tables = TestTensors.read(vectors).under(kind + ".fisher.");
    assertThat(tables).hasSize(3);
    tables.forEach((name, mean) ->
        TestTensors.assertClose(
            name, sums.get(name), 1.0 / 6, mean, 2e-4 * TestTensors.largest(mean.floats())));
  }

  @Test
  void headsOfClipsHaveNoParameters() {
    Path clip = Golden.path("clip-tiny");
    CommandResult.run(
            "fisher",
            "--with-head",
            "--model",
            clip.resolve("alpha").toString(),
            "--clip",
            clip.resolve("pretrained").toString(),
            "--heads",
            clip.resolve("expected.safetensors") + "#alpha.",
            "--data",
            clip.resolve("expected.safetensors") + "#alpha.",
            "--out",
            folder.resolve("x.safetensors").toString())
        .fails(2, "--with-head", "CLIP");
  }
}
