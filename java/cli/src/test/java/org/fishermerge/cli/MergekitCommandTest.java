package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Recipes of mergekit's, and the commands for the same rules. What the rules compute is compared
 * with an oracle in java/merge (TensorMergeTest); here recipes are compared with commands.
 */
final class MergekitCommandTest {
  private static final String BASE = FewWords.pretrained().toString();
  private static final String ALPHA = Golden.path("clip-tiny/alpha").toString();
  private static final String BETA = Golden.path("clip-tiny/beta").toString();

  @TempDir Path folder;

  /** Names of tensors that are merged, and of the layers among them. */
  private List<String> names = List.of();

  private int layers;

  @BeforeEach
  void findLayers() {
    names =
        TestTensors.read(Path.of(BASE)).tensors().keySet().stream()
            .filter(name -> name.startsWith("vision_model."))
            .toList();
    layers =
        1
            + names.stream()
                .filter(name -> name.contains(".layers."))
                .mapToInt(MergekitCommandTest::layer)
                .max()
                .orElseThrow();
    assertThat(layers).isGreaterThan(1);
  }

  private static int layer(String name) {
    return name.contains(".layers.")
        ? Integer.parseInt(name.replaceAll(".*\\.layers\\.(\\d+)\\..*", "$1"))
        : -1;
  }

  /** A tensor under any of its names. */
  private static TestTensors.Tensor named(TestTensors of, String name) {
    String canonical = ParameterNames.canonical(name);
    return of.get(
        of.tensors().keySet().stream()
            .filter(each -> ParameterNames.canonical(each).equals(canonical))
            .findFirst()
            .orElseThrow());
  }

  private Path write(String file, String text) {
    try {
      return Files.writeString(
          folder.resolve(file),
          text.replace("{BASE}", BASE).replace("{ALPHA}", ALPHA).replace("{BETA}", BETA));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private TestTensors recipe(String text, String... options) {
    Path out = folder.resolve("recipe");
    List<String> line =
        new ArrayList<>(
            List.of(
                "mergekit", write("recipe.yml", text).toString(), out.toString(), "--overwrite"));
    line.addAll(List.of(options));
    CommandResult.run(line).succeeds();
    return TestTensors.read(out);
  }

  private TestTensors command(String words) {
    return command(words, ALPHA);
  }

  private TestTensors command(String words, String first) {
    Path out = folder.resolve("command");
    List<String> line = new ArrayList<>(List.of(words.split(" ", -1)));
    line.addAll(
        List.of("--base", BASE, "--model", first, "--model", BETA, "--out", out.toString()));
    line.add("--overwrite");
    CommandResult.run(line).succeeds();
    return TestTensors.read(out);
  }

  private static void assertSame(TestTensors one, TestTensors other) {
    assertThat(one.tensors().keySet()).isEqualTo(other.tensors().keySet());
    one.tensors()
        .forEach((name, tensor) -> {
          assertThat(tensor.dtype()).isEqualTo(other.get(name).dtype());
          assertThat(tensor.bytes()).as(name).isEqualTo(other.get(name).bytes());
        });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ties | density: 0.3, normalize: true, int8_mask: true | ties --density 0.3",
        "ties | density: 0.3, normalize: false, lambda: 0.5"
            + " | ties --density 0.3 --normalize false --lambda 0.5",
        "dare_linear | density: 0.4 | dare --density 0.4 --seed 5",
        "dare_ties | density: 0.4, rescale: false | dare --density 0.4 --seed 5 --consensus ties"
            + " --rescale none",
        "breadcrumbs | density: 0.8, gamma: 0.05 | breadcrumbs --density 0.8 --gamma 0.05",
        "breadcrumbs_ties | density: 0.8 | breadcrumbs --density 0.8 --consensus ties",
        "task_arithmetic | lambda: 0.7 | task-arithmetic --scaling-factor 0.7",
        "linear | normalize: false | linear --normalize false",
        "linear | normalize: true | average",
      })
  void recipesAreTheCommands(String method, String parameters, String words) {
    String base = method.equals("linear") ? "" : "base_model: {BASE}\n";
    String text =
        """
        merge_method: %s
        %smodels:
          - model: {ALPHA}
            parameters: {weight: 0.6}
          - model: {BETA}
            parameters: {weight: 0.5}
        parameters: {%s}
        dtype: float16
        tokenizer_source: base
        """
            .formatted(method, base, parameters);
    TestTensors found = recipe(text, "--seed", "5");
    String line = words.equals("average") ? "linear" : words;
    TestTensors wanted = command(line + " --weights 0.6,0.5 --dtype float16");
    if (method.equals("linear")) {
      // The recipe's first model stands in for a base, and has its image tower only.
      assertThat(found.tensors()).hasSizeGreaterThan(20);
      found
          .tensors()
          .forEach((name, tensor) ->
              assertThat(tensor.bytes()).as(name).isEqualTo(named(wanted, name).bytes()));
    } else {
      assertSame(found, wanted);
    }
  }

  /** A base among the models has no task vector. */
  @Test
  void theBaseMayBeAmongTheModels() {
    String text =
        """
        merge_method: ties
        base_model: {BASE}
        models:
          - model: {BASE}
          - model: {ALPHA}
            parameters: {weight: 1, density: 0.5}
          - model: {BETA}
            parameters: {weight: 0.5, density: 0.25}
        """;
    assertSame(recipe(text), command("ties --weights 1,0.5 --density 0.5,0.25"));
  }

  /** Lists run over the layers, filters over the names, and what is more special goes before. */
  @Test
  void gradientsAndFilters() {
    TestTensors found =
        recipe(
            """
            merge_method: slerp
            base_model: {BASE}
            slices:
              - sources:
                  - {model: {BASE}, layer_range: [0, %d]}
                  - {model: {BETA}, layer_range: [0, %d]}
            parameters:
              t:
                - {filter: self_attn, value: [0, 0.5, 1]}
                - {filter: mlp, value: 0.25}
                - value: 0.75
            """
                .formatted(layers, layers));
    Map<Double, TestTensors> constant = new HashMap<>();
    for (String name : names) {
      double share = layers > 1 ? (double) layer(name) / (layers - 1) : 1;
      double t = name.contains("self_attn") ? share : name.contains("mlp") ? 0.25 : 0.75;
      TestTensors wanted = constant.computeIfAbsent(t, any -> command("slerp -t " + t, BASE));
      assertThat(found.get(name).bytes())
          .as("%s, t %s", name, t)
          .isEqualTo(Objects.requireNonNull(wanted).get(name).bytes());
    }
    assertThat(constant).hasSizeGreaterThan(3);
  }

  /** Slices have weights and densities of their own; what lies before them is of the first. */
  @Test
  void slices() {
    StringBuilder text =
        new StringBuilder(
            "merge_method: ties\nbase_model: {BASE}\nparameters: {density: 0.5}\nslices:\n");
    for (int k = 0; k < layers; k++) {
      text.append(
          """
            - sources:
                - model: {ALPHA}
                  layer_range: [%d, %d]
                  parameters: {weight: %s}
                - model: {BETA}
                  layer_range: [%d, %d]
                  parameters: {weight: 0.5}
          """
              .formatted(k, k + 1, 1 + k, k, k + 1));
    }
    TestTensors found = recipe(text.toString());
    for (String name : names) {
      int of = name.contains("embed") ? 0 : layer(name) < 0 ? layers - 1 : layer(name);
      TestTensors wanted = command("ties --density 0.5 --weights " + (1 + of) + ",0.5");
      assertThat(found.get(name).bytes()).as(name).isEqualTo(wanted.get(name).bytes());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "merge_method: passthrough | merge_method: passthrough is not done here; expected one of",
        "merge_method: ties;modules: {a: 1} | modules: fisher-merge does not do that",
        "merge_method: ties;chat_template: auto | chat_template: fisher-merge does not do that",
        "merge_method: ties;tokenizer: {source: union} | tokenizer: fisher-merge does not do that",
        "merge_method: ties;base_modle: x | base_modle: is no key of mergekit's here; base_model",
        "merge_method: ties;base_model: {BASE} | models: expected exactly one of models and slices",
        "merge_method: ties;models: [{model: {ALPHA}}] | base_model: is missing",
        "merge_method: ties;base_model: {BASE};models: [] | models: expected a list",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}}]"
            + " | parameters.weight: ties needs it",
        "merge_method: ties;base_model: {BASE};models: [{model: {BASE}}] | there is none but the base",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {wieght: 1}}]"
            + " | models[0].parameters.wieght: is no key",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: a}}]"
            + " | models[0].parameters.weight: is a; expected a number",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: 1}}];"
            + "parameters: {normalize: [1, 0]} | parameters.normalize: must be one value",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: 1}}];"
            + "parameters: {density: 0} | density of tensor",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: 1}}];"
            + "dtype: int8 | dtype: int8: expected float32",
        "merge_method: ties;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: 1}}];"
            + "tokenizer_source: {BETA} | tokenizer_source",
        "merge_method: slerp;base_model: {BASE};models: [{model: {ALPHA}}, {model: {BETA}}];"
            + "parameters: {t: 0.5} | slerp takes two models, the base one of them, and not 3",
        "merge_method: slerp;base_model: {ALPHA};models: [{model: {BETA}}] | parameters.t: slerp needs",
        "merge_method: linear;base_model: {BASE};models: [{model: {ALPHA}, parameters: {weight: 1}}]"
            + " | must be among the models of linear",
        "merge_method: slerp;base_model: {ALPHA};parameters: {t: 0.5};slices: [{sources: [{model: {ALPHA},"
            + " layer_range: [0, 1]}, {model: {BETA}, layer_range: [1, 2]}]}]"
            + " | slices[0].sources[1].layer_range: is [1, 2]; layers stay",
        "merge_method: slerp;base_model: {ALPHA};parameters: {t: 0.5};slices: [{sources: [{model: {ALPHA},"
            + " layer_range: [0, 1]}, {model: {BETA}, layer_range: [0, 1]}]}]"
            + " | slices: end at layer 1, but the base has",
        "merge_method: ties;base_model: /no/such;models: [{model: {ALPHA}, parameters: {weight: 1}}]"
            + " | /no/such",
        "- ties | expected keys with values",
      })
  void whatIsNotDoneIsSaid(String lines, String said) {
    Path recipe = write("bad.yml", lines.replace(";", "\n"));
    Path out = folder.resolve("out");
    CommandResult.run("mergekit", recipe.toString(), out.toString())
        .fails(1, said.split("; base_model", -1));
    assertThat(out).doesNotExist();
  }

  @Test
  void filesThatAreNoRecipes() {
    CommandResult.run("mergekit", folder.resolve("none.yml").toString(), "out")
        .fails(1, "none.yml: does not exist");
    CommandResult.run("mergekit", folder.toString(), "out").fails(1, "is not a file");
  }

  @Test
  void coefficientsOfAFile() {
    Path file =
        write(
            "c.yml", "'.*\\.layers\\.0\\.': [1, 0]\n'.*embed': 0.5\n'.*layernorm': [0.25, 0.75]\n");
    TestTensors found = command("average --coefficients 3,1 --coefficients-file " + file);
    TestTensors alpha = TestTensors.read(Path.of(ALPHA));
    for (String name : names) {
      if (layer(name) == 0) {
        assertThat(found.get(name).bytes()).as(name).isEqualTo(named(alpha, name).bytes());
        continue;
      }
      String weights = name.contains("embed") ? "1,1" : name.contains("layernorm") ? "1,3" : "3,1";
      TestTensors wanted = command("average --coefficients " + weights);
      TestTensors.assertClose(name, found.get(name), 1, wanted.get(name), 1e-6);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "'layers': [1, 1] | c.yml: 'layers' matches no parameter that is merged, such as",
        "'.*': [1, 1, 1] | c.yml: '.*' has 3 values for 2 models",
        "'.*': [1, a] | c.yml: '.*' has a value that is no number",
        "'(': 1 | c.yml: '(' is not a regular expression",
        "'.*bias': [1, -1] | sum to 0.0",
        " | c.yml: holds no regular expression",
      })
  void wrongFilesOfCoefficientsAreRefused(String line) {
    String[] parts = line.split(" \\| ", -1);
    Path file = write("c.yml", parts[0]);
    Path out = folder.resolve("out");
    CommandResult.run(
            List.of(
                "average",
                "--base",
                BASE,
                "--model",
                ALPHA,
                "--model",
                BETA,
                "--coefficients-file",
                file.toString(),
                "--out",
                out.toString()))
        .fails(1, parts[1]);
    assertThat(out).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ties --density 2,1,1 | --density has 3 values for 2 models",
        "ties --density 0 | density of tensor",
        "ties --density 0.5 --lambda NaN | --scaling-factor NaN",
        "slerp -t 1.5 | t of tensor",
        "slerp -t 0.5 --coefficients 1,2 | SLERP takes no coefficients: -t says",
        "slerp -t 0.5 --coefficients-file nowhere.yml | nowhere.yml",
        "ties --density 0.5 --lambda 1e300 | multiplied by 1.0E300: give a smaller --lambda",
        "task-arithmetic --scaling-factor 1e30 | --scaling-factor 1.0E30 times the coefficients",
        "breadcrumbs --density 0.5 --gamma -1 | gamma of tensor",
        "linear --weights 1,-1 | sum to 0.0",
      })
  void wrongSettingsAreRefused(String words, String said) {
    List<String> line = new ArrayList<>(List.of(words.split(" ", -1)));
    Path out = folder.resolve("out");
    line.addAll(List.of("--base", BASE, "--model", ALPHA, "--model", BETA));
    line.addAll(List.of("--out", out.toString()));
    CommandResult.run(line).fails(1, said);
    assertThat(out).doesNotExist();
  }
}
