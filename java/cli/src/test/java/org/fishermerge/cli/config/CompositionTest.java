package org.fishermerge.cli.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.Normalization;
import org.fishermerge.merge.TaskArithmetic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Compositions, against what Hydra 1.3.2 with OmegaConf 2.2.2 makes of the same files. */
final class CompositionTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final LocalDateTime NOW = LocalDateTime.of(2031, 2, 3, 4, 5, 6);

  @TempDir Path folder;

  // ---- Hydra as oracle ----

  static Stream<Arguments> hydra() throws IOException {
    try (InputStream in =
        Objects.requireNonNull(CompositionTest.class.getResourceAsStream("compositions.jsonl"))) {
      List<Arguments> all = new ArrayList<>();
      for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList()) {
        JsonNode example = JSON.readTree(line);
        List<String> overrides = new ArrayList<>();
        example.path("overrides").forEach(text -> overrides.add(text.textValue()));
        all.add(Arguments.of(overrides, example.path("config")));
      }
      assertThat(all).hasSizeGreaterThan(12);
      return all.stream();
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("hydra")
  void composesWhatHydraComposes(List<String> overrides, JsonNode expected) throws IOException {
    // As text, because the order of keys counts: it is the order of tasks.
    String composed =
        JSON.writeValueAsString(compose(overrides).config().plain())
            .replace("Infinity", "INF"); // JSON has no number for it
    assertThat(JSON.readTree(composed).toPrettyString())
        .isEqualTo(JSON.readTree(expected.toString()).toPrettyString());
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("hydra")
  void printsYamlThatIsTheSameAgain(List<String> overrides, JsonNode expected) {
    Composition composition = compose(overrides);
    assertThat(Yaml.parse(composition.yaml(null), "printed")).isEqualTo(composition.config());
  }

  // ---- interpolation ----

  @Test
  void resolvesAsTheTreeNeedsIt() {
    Section all = resolved(List.of("modelpool=gpt-2_glue", "taskpool=gpt-2_glue"), Map.of());
    assertThat(all.requiredSection("path").requiredText("log_dir"))
        .isEqualTo("./outputs/fabric_model_fusion/2031-02-03_04-05-06");
    assertThat(all.requiredSection("path").requiredText("cache_dir")).isEqualTo("./outputs/cache");
    assertThat(
            all.requiredSection("modelpool")
                .requiredSection("models")
                .requiredSection("cola")
                .requiredText("_target_"))
        .isEqualTo("transformers.GPT2Model.from_pretrained");
    assertThat(all.requiredSection("taskpool").flag("fast_dev_run")).isFalse();

    Section elsewhere =
        resolved(
            List.of("taskpool=clip-vit-classification_TA8_L14", "fast_dev_run=true"),
            Map.of("FUSION_BENCH_PROJECT_ROOT", "/r", "FUSION_BENCH_DATA_DIR", "/d"));
    assertThat(elsewhere.requiredSection("path").requiredText("data_dir")).isEqualTo("/d");
    assertThat(elsewhere.requiredSection("path").requiredText("cache_dir"))
        .isEqualTo("/r/outputs/cache");
    assertThat(
            elsewhere
                .requiredSection("taskpool")
                .requiredSection("data_processor")
                .requiredText("pretrained_model_name_or_path"))
        .isEqualTo("openai/clip-vit-large-patch14");
  }

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "seed=${sed}               | the configuration has no key sed; the nearest names are \"seed\"",
        "seed=${.seed}             | leads back to itself",
        "seed=${....x}             | not so many levels",
        "seed=${oc.env:NOT_SET_X}  | the environment variable NOT_SET_X is not set",
        "seed=${eval:1+1}          | known are oc.env",
        "seed='${now:%Q}'          | known are %Y",
        "seed='a ${method}'        | a group of keys cannot be part of a text",
      })
  void namesWhatAnInterpolationLacks(String override, String message) {
    assertThatThrownBy(() -> resolved(List.of(override), Map.of()))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message);
  }

  // ---- old names ----

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "method=clip_fisher_merging | method=fisher_merging/clip_fisher_merging | 0",
        "method=gpt2_fisher_merging | method=fisher_merging/gpt2_fisher_merging | 0",
        "modelpool=clip-vit-large-patch14_TA8"
            + " | modelpool=CLIPVisionModelPool/clip-vit-large-patch14_TA8 | 0",
        "taskpool=clip-vit-classification_TA8"
            + " | taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8 | 0",
        "method=clip_fisher_merging method.batch_size=8 method.num_workers=4"
            + " | method=fisher_merging/clip_fisher_merging method.dataloader_kwargs.batch_size=8"
            + " method.dataloader_kwargs.num_workers=4 | 2",
        "save_report=out.json | report_save_path=out.json | 1",
        "modelpool.models.stanford_cars=x | modelpool.models.stanford-cars=x | 1",
        "dataset/image_classification/train@modelpool.train_datasets=[sun397,stanford_cars]"
            + " | dataset/image_classification/train@modelpool.train_datasets=[sun397,stanford-cars]"
            + " | 0",
        "modelpool=clip-vit-base-patch32_individual"
            + " modelpool.models._pretrained_.pretrained_model_name_or_path=x"
            + " | modelpool=CLIPVisionModelPool/clip-vit-base-patch32_individual"
            + " modelpool.models._pretrained_=x | 1",
        "taskpool=clip-vit-classification_TA8 taskpool.batch_size=64"
            + " | taskpool=clip-vit-classification_TA8 taskpool.dataloader_kwargs.batch_size=64 | 1",
      })
  void oldNamesMeanThePresentOnes(String old, String present, int notes) {
    Composition composition = compose(List.of(old.split(" ")));
    assertThat(composition.config()).isEqualTo(compose(List.of(present.split(" "))).config());
    assertThat(composition.notes()).hasSize(notes);
  }

  @Test
  void aKeyThatExistsIsNotTakenForAnOldOne() {
    Composition gpt2 = compose(List.of("method=gpt2_fisher_merging", "method.batch_size=8"));
    assertThat(gpt2.config().at(List.of("method", "batch_size")))
        .contains(new ConfigValue.Scalar(8L));
    assertThat(gpt2.notes()).isEmpty();
  }

  // ---- the user's own files ----

  @Test
  void theUsersFilesGoFirst() throws IOException {
    write("method/mine.yaml", "defaults:\n  - simple_average\n  - _self_\nmore: ${seed}\n");
    write("method/dummy.yaml", "_target_: my.Dummy\n");
    write("extra/deep.yaml", "# @package path.deep\nx: yes\n");
    ConfigTree tree = ConfigTree.embedded().with(folder);
    Composition mine =
        Composition.of(tree, Composition.ROOT, List.of("method=mine", "+extra=deep"));
    assertThat(mine.config().at(List.of("method", "_target_")))
        .contains(new ConfigValue.Scalar("fusion_bench.method.SimpleAverageAlgorithm"));
    assertThat(mine.config().at(List.of("method", "more")))
        .contains(new ConfigValue.Scalar("${seed}"));
    assertThat(mine.config().at(List.of("path", "deep", "x")))
        .contains(new ConfigValue.Scalar(true));
    assertThat(Composition.of(tree, Composition.ROOT, List.of()).config().at(List.of("method")))
        .hasValueSatisfying(method ->
            assertThat(method.child("_target_")).contains(new ConfigValue.Scalar("my.Dummy")));
  }

  @Test
  void anOverrideInADefaultsListCounts() throws IOException {
    write(
        "experiment/one.yaml",
        """
        # @package _global_
        defaults:
          - override /method: task_arithmetic
          - _self_
        method:
          scaling_factor: 0.7
        """);
    Composition one =
        Composition.of(
            ConfigTree.embedded().with(folder), Composition.ROOT, List.of("+experiment=one"));
    assertThat(one.config().at(List.of("method")).orElseThrow().plain())
        .isEqualTo(
            Map.of(
                "_target_", "fusion_bench.method.TaskArithmeticAlgorithm", "scaling_factor", 0.7));
  }

  @ParameterizedTest(name = "{1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "a: 1\\na: 2\\n                | method/bad.yaml: not valid YAML: found duplicate key a",
        "a: [1\\n                      | method/bad.yaml: not valid YAML:",
        "a: [!!%20\\n                  | method/bad.yaml: not valid YAML:",
        "a: NESTED\\n                  | method/bad.yaml: not valid YAML: nested deeper than 100 levels",
        "a: &x [*x]\\n                 | method/bad.yaml: not valid YAML: nested deeper than 100 levels",
        "- 1\\n                        | method/bad.yaml: expected keys with values",
        "defaults: x\\n                | method/bad.yaml: defaults must be a list",
        "defaults:\\n  - nothing\\n    | method/bad.yaml: there is no method/nothing; the nearest",
        "defaults:\\n  - /method: xx\\n | method/bad.yaml: method=xx: no such option",
        "defaults:\\n  - a: b\\n    c: d\\n | method/bad.yaml: an entry of defaults is",
      })
  void aBadFileIsNamed(String text, String message) throws IOException {
    write("method/bad.yaml", text.replace("\\n", "\n").replace("NESTED", "[".repeat(20_000)));
    assertThatThrownBy(() ->
            Composition.of(
                ConfigTree.embedded().with(folder), Composition.ROOT, List.of("method=bad")))
        .isInstanceOf(InputException.class)
        .message()
        .contains(folder.toString(), message.strip());
  }

  // ---- what is refused ----

  /** Small texts that would be huge, or endless, once interpolated. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "a%2$d: ${a%1$d}${a%1$d}\n",
        "a%2$d: [\"${a%1$d}\", \"${a%1$d}\"]\n",
        "a%2$d:\n  p: ${a%1$d}\n  q: ${a%1$d}\n",
      })
  void interpolationsCannotGrowWithoutBound(String doubled) throws IOException {
    StringBuilder text = new StringBuilder("# @package _global_\na0: x\n");
    for (int i = 0; i < 60; i++) {
      text.append(doubled.formatted(i, i + 1));
    }
    write("bomb.yaml", text.toString());
    Composition bomb = Composition.of(ConfigTree.embedded().with(folder), "bomb", List.of());
    assertThatThrownBy(() -> bomb.resolved(NOW, name -> null))
        .isInstanceOf(InputException.class)
        .hasMessageMatching("the interpolations at a\\d+.* make it longer than 1048576 .*");
  }

  @Test
  void interpolationsInsideOneAnotherHaveAnEnd() {
    String nested = "${oc.env:X,".repeat(5_000) + "1" + "}".repeat(5_000);
    Composition deep = compose(List.of("+a=" + nested));
    assertThatThrownBy(() -> deep.resolved(NOW, name -> null))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("nested too deep");
  }

  /** A stranger's configuration must not get a token into a report. */
  @ParameterizedTest
  @ValueSource(
      strings = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "pgpassword"})
  void secretsAreNotRead(String name) {
    Map<String, String> environment = Map.of(name, "hf_secret");
    for (String value : List.of("${oc.env:" + name + "}", "x${oc.env:'" + name + "',y}")) {
      assertThatThrownBy(() -> resolved(List.of("+a=\"" + value + "\""), environment))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(name, "holds a secret")
          .hasMessageNotContaining("hf_secret");
    }
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "method=fisher_mergin/clip_fisher_merging"
            + " | no such option; the nearest names are \"fisher_merging/clip_fisher_merging\"",
        "modelpool=clip-vit-base-patch32_TA9 | the nearest names are \"CLIPVisionModelPool/clip",
        "sed=1                 | there is no key sed; the nearest names are \"seed\"",
        "method.batchsize=1    | method has no key batchsize",
        "report_save_path.x=1  | report_save_path has no key x; report_save_path is {log_dir}",
        "modelpool.models={only: this/one} | modelpool.models has no key only",
        "+fast_dev_run=true    | the key exists; leave the + out to change it, or use ++",
        "~nothing              | there is no key nothing",
        "~fast_dev_run=true    | its value is false",
        "+method=dummy         | method is chosen more than once",
        "dataset/image_classification/train@modelpool.train=[dtd] | no group is chosen as",
        "~dataset/image_classification/train | there is no such choice to leave out",
        "nogroup/x=y           | there is no group nogroup/x",
        "hydra.run.dir=x       | Hydra itself does not run here",
        "seed=1,2              | a sweep, which is not supported",
        "+a=[1,2               | \"]\" is missing",
        "+a='x                 | the closing quote is missing",
        "+a={b}                | needs a colon and a value",
        "+a=b=c                | \"=\" has no place in an unquoted value",
        "+a=choice(x)          | functions are not supported",
        "+a=${x                | the closing brace of ${ is missing",
        "+a=[1,,2]             | a value is missing",
        "+a=NESTED             | nested deeper than 100 levels",
        "key                   | is no override; expected key=value",
      })
  void aBadOverrideIsRefused(String override, String message) {
    String given = override.strip().replace("NESTED", "[{b: ".repeat(20_000));
    assertThatThrownBy(() -> compose(List.of(given)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(given.replaceAll("[+~]", "").substring(0, 3).strip())
        .satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(1000))
        .hasMessageContaining(message);
  }

  @Test
  void anUnknownKeyIsRefusedWhereItIsRead() {
    Section method = resolved(List.of("+method.scaling=1"), Map.of()).requiredSection("method");
    assertThat(method.target()).isEqualTo("DummyAlgorithm");
    method.accept("scaling_factor");
    assertThatThrownBy(method::done)
        .hasMessageContaining("method.scaling: ")
        .hasMessageContaining("\"scaling_factor\"");
  }

  /** What is written in config/ for users to read are the defaults of the commands too. */
  @Test
  void defaultsOfMethodsAreThoseOfTheRules() {
    for (String method : List.of("clip_fisher_merging", "gpt2_fisher_merging")) {
      Section fisher =
          resolved(List.of("method=fisher_merging/" + method), Map.of()).requiredSection("method");
      assertThat(fisher.requiredNumber("minimal_fisher_weight"))
          .isEqualTo(DiagonalFisher.DEFAULT.minimalFisher());
      assertThat(fisher.flag("normalize_fisher_weight"))
          .isEqualTo(DiagonalFisher.DEFAULT.normalization() == Normalization.MODEL);
    }
    Section arithmetic =
        resolved(List.of("method=task_arithmetic"), Map.of()).requiredSection("method");
    assertThat(arithmetic.requiredNumber("scaling_factor"))
        .isEqualTo(TaskArithmetic.DEFAULT_SCALING_FACTOR);
  }

  // ---- what the tests share ----

  private static Composition compose(List<String> overrides) {
    return Composition.of(ConfigTree.embedded(), Composition.ROOT, overrides);
  }

  private static Section resolved(List<String> overrides, Map<String, String> environment) {
    return compose(overrides).resolved(NOW, environment::get);
  }

  private void write(String path, String text) throws IOException {
    Path file = folder.resolve(path);
    Files.createDirectories(Objects.requireNonNull(file.getParent()));
    Files.writeString(file, text);
  }
}
