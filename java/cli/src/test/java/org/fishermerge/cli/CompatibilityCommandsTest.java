package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Models that do not belong together are refused by every command, in the same words. */
final class CompatibilityCommandsTest {
  private static final String TOWER =
      """
      {"model_type": "clip_vision_model", "hidden_size": 4, "num_hidden_layers": 1,
       "num_attention_heads": 2, "intermediate_size": 8, "image_size": 4, "patch_size": 2,
       "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05}\
      """;
  private static final String LLAMA =
      """
      {"model_type": "llama", "hidden_size": 4, "num_attention_heads": 2, "rope_theta": 10000.0,
       "rms_norm_eps": 1e-06, "hidden_act": "silu", "max_position_embeddings": 64,
       "architectures": ["LlamaForCausalLM"]}\
      """;
  private static final String PICTURES =
      """
      {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 4},
       "crop_size": {"height": 4, "width": 4}, "image_mean": [0.5, 0.5, 0.5],
       "image_std": [0.5, 0.5, 0.5]}\
      """;

  @TempDir Path folder;

  /** What a pair of folders holds, and what is said of it. */
  private record Pair(String file, String one, String other, String... said) {
    static Pair config(String one, String from, String to, String... said) {
      assertThat(one).contains(from);
      return new Pair("config.json", one, one.replace(from, to), said);
    }
  }

  private static final Map<String, Pair> REFUSED =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry(
                  "activation",
                  Pair.config(
                      TOWER,
                      "quick_gelu",
                      "gelu",
                      "hidden_act is \"quick_gelu\" and \"gelu\"",
                      "--allow-different hidden_act")),
              Map.entry(
                  "epsilon", Pair.config(TOWER, "1e-05", "1e-06", "layer_norm_eps is 0.00001 and")),
              Map.entry(
                  "heads",
                  Pair.config(TOWER, "heads\": 2", "heads\": 4", "num_attention_heads is 2 and 4")),
              Map.entry(
                  "a default of the class",
                  Pair.config(
                      TOWER,
                      "\"hidden_act\": \"quick_gelu\"",
                      "\"hidden_act\": \"relu\"",
                      "hidden_act is \"quick_gelu\" and \"relu\"")),
              Map.entry(
                  "rope_theta",
                  Pair.config(
                      LLAMA,
                      "10000.0",
                      "500000.0",
                      "rope_parameters.rope_theta",
                      "10000",
                      "500000")),
              Map.entry(
                  "rope_theta that one leaves out",
                  Pair.config(
                      LLAMA.replace("10000.0", "1000000.0"),
                      "\"rope_theta\": 1000000.0,",
                      "",
                      "rope_parameters.rope_theta")),
              Map.entry(
                  "rope_scaling",
                  Pair.config(
                      LLAMA,
                      "\"rope_theta\"",
                      "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, \"rope_theta\"",
                      "rope_parameters.rope_type is \"default\" and \"linear\"")),
              Map.entry(
                  "a sliding window of a type that is not known here",
                  Pair.config(
                      LLAMA.replace("llama", "wyvern").replace("64", "64, \"sliding_window\": 8"),
                      "\"sliding_window\": 8",
                      "\"sliding_window\": 16",
                      "sliding_window is 8 and 16")),
              Map.entry(
                  "model types",
                  Pair.config(LLAMA, "\"llama\"", "\"mistral\"", "model_type is \"llama\" and")),
              Map.entry(
                  "picture means",
                  new Pair(
                      "preprocessor_config.json",
                      PICTURES,
                      PICTURES.replaceFirst("0.5, 0.5", "0.5, 0.4"),
                      "preprocessor_config.json",
                      "image_mean is [0.5, 0.5, 0.5] and [0.5, 0.4, 0.5]")),
              Map.entry(
                  "picture resampling by default",
                  new Pair(
                      "preprocessor_config.json",
                      PICTURES,
                      PICTURES.replace("\"size\"", "\"resample\": 2, \"size\""),
                      "resample is 3 and 2")),
              Map.entry(
                  "vocabulary",
                  new Pair(
                      "vocab.json",
                      "{\"a\": 0, \"b\": 1}",
                      "{\"a\": 1, \"b\": 0}",
                      "tokenizer.vocabulary is 2 tokens, \"a\" as 0 and 2 tokens, \"a\" as 1")),
              Map.entry(
                  "merges of tokenizer.json",
                  new Pair(
                      "tokenizer.json",
                      "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
                      "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"b\", \"a\"]]}}",
                      "tokenizer.merges is \"a b\" and \"b a\"")),
              Map.entry(
                  "added tokens",
                  new Pair(
                      "tokenizer.json",
                      "{\"model\": {\"vocab\": {\"a\": 0}}}",
                      "{\"added_tokens\": [{\"id\": 1, \"content\": \"[PAD]\"}],"
                          + " \"model\": {\"vocab\": {\"a\": 0}}}",
                      "\"[PAD]\" not there and 2 tokens, \"[PAD]\" as 1"))));

  private static final List<String> COMMANDS =
      List.of("average", "merge", "task-arithmetic", "search", "evaluate", "run");

  static Stream<Arguments> refused() {
    return REFUSED.keySet().stream()
        .flatMap(pair -> COMMANDS.stream().map(command -> Arguments.of(pair, command)))
        // A configured run takes CLIPs and GPT-2s only, and says so of others.
        .filter(each -> !"run".equals(each.get()[1]) || isTower(String.valueOf(each.get()[0])));
  }

  private static boolean isTower(String pair) {
    return Objects.requireNonNull(REFUSED.get(pair)).one.equals(TOWER)
        || !Objects.requireNonNull(REFUSED.get(pair)).file.equals("config.json");
  }

  @ParameterizedTest(name = "{0}, {1}")
  @MethodSource("refused")
  void everyCommandRefusesTheSame(String name, String command) throws IOException {
    Pair pair = Objects.requireNonNull(REFUSED.get(name));
    Path base = model("base", pair.file, pair.one);
    Path other = model("other", pair.file, pair.other);
    String[] said =
        Stream.concat(
                Stream.of(pair.said),
                Stream.of("base/" + pair.file + " and ", "other/" + pair.file + " do not belong"))
            .toArray(String[]::new);
    CommandResult result = CommandResult.run(line(command, base, other));
    result.fails(1, said);
    assertThat(folder.resolve("out")).doesNotExist();
  }

  /** One tensor, and a config.json unless that is the file. */
  private Path model(String name, String file, String text) throws IOException {
    Path model = Files.createDirectories(folder.resolve(name));
    TestTensors.write(
        model.resolve("model.safetensors"),
        Map.of("post_layernorm.weight", Tensor.of(List.of(2L), 1, name.length())));
    Files.writeString(model.resolve("config.json"), TOWER);
    Files.writeString(model.resolve(file), text);
    return model;
  }

  private List<String> line(String command, Path base, Path other) {
    List<String> merge =
        List.of("--base", text(base), "--out", text(folder.resolve("out")), "--model", text(other));
    List<String> line = new ArrayList<>(List.of(command));
    switch (command) {
      case "average", "task-arithmetic" -> line.addAll(merge);
      case "merge" -> {
        line.addAll(merge);
        line.addAll(List.of("--fisher", fisher()));
      }
      case "search" -> {
        line.addAll(merge);
        line.addAll(
            List.of(
                "--data", "none.safetensors", "--model", text(base), "--data", "none.safetensors"));
      }
      case "evaluate" ->
          line.addAll(
              List.of(
                  "--model",
                  text(other),
                  "--clip",
                  text(base),
                  "--heads",
                  "none.safetensors",
                  "--data",
                  "none.safetensors"));
      default -> {
        line.clear();
        line.addAll(
            List.of(
                "method=simple_average",
                "modelpool=CLIPVisionModelPool/clip-vit-base-patch32_individual",
                "modelpool.models._pretrained_=" + base,
                "+modelpool.models.other=" + other,
                "taskpool=dummy",
                "print_config=false",
                "path.log_dir=" + folder.resolve("log"),
                "merged_model_save_path=" + folder.resolve("out")));
      }
    }
    return line;
  }

  private String fisher() {
    return text(
        TestTensors.write(
            folder.resolve("fisher.safetensors"),
            Map.of("post_layernorm.weight", Tensor.of(List.of(2L), 1, 1))));
  }

  private static String text(Path path) {
    return path.toString();
  }

  /** What differs in writing only, by file. */
  static Stream<Arguments> alike() {
    return Stream.of(
        Arguments.of("config.json", TOWER, TOWER.replace("1e-05", "0.00001")),
        Arguments.of("config.json", TOWER, TOWER.replace("1e-05", "9.999999747378752e-06")),
        Arguments.of("config.json", TOWER, TOWER.replace("\"hidden_act\": \"quick_gelu\",", "")),
        Arguments.of(
            "config.json",
            TOWER,
            TOWER.replace("}", ", \"dtype\": \"float16\", \"attention_dropout\": NaN}")),
        Arguments.of(
            "config.json",
            TOWER,
            "{\"model_type\": \"clip\", \"text_config\": {}, \"vision_config\": " + TOWER + "}"),
        Arguments.of(
            "config.json",
            LLAMA,
            LLAMA.replace(
                "\"rope_theta\": 10000.0",
                "\"rope_parameters\": {\"rope_theta\": 10000, \"rope_type\": \"default\"}")),
        Arguments.of("config.json", LLAMA, LLAMA.replace("\"rope_theta\": 10000.0,", "")),
        Arguments.of(
            "config.json", LLAMA, LLAMA.replace("64", "64, \"head_dim\": 2, \"mlp_bias\": false")),
        Arguments.of(
            "config.json", LLAMA, LLAMA.replace("\"silu\"", "\"swish\", \"eos_token_id\": 128009")),
        Arguments.of(
            "preprocessor_config.json",
            PICTURES,
            PICTURES
                .replace(
                    "\"image_processor_type\": \"CLIPImageProcessor\"",
                    "\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"do_resize\": true")
                .replace("{\"shortest_edge\": 4}", "4")
                .replace("{\"height\": 4, \"width\": 4}", "4")),
        Arguments.of("vocab.json", "{\"a\": 0, \"b\": 1}", "{\"b\": 1,\n \"a\": 0}"),
        Arguments.of(
            "tokenizer.json",
            "{\"truncation\": null, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
            "{\"truncation\": {\"max_length\": 8},"
                + " \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"b\"]]}}"));
  }

  @ParameterizedTest
  @MethodSource("alike")
  void whatOnlyIsWrittenInAnotherWayIsMerged(String file, String one, String other)
      throws IOException {
    Path base = model("base", file, one);
    Path member = model("other", file, other);
    CommandResult.run(line("average", base, member)).succeeds();
  }

  @ParameterizedTest
  @CsvSource({"hidden_act", "layer_norm_eps"})
  void aDifferenceThatIsAllowedPasses(String key) throws IOException {
    Path base = model("base", "config.json", TOWER);
    Path other =
        model(
            "other",
            "config.json",
            TOWER
                .replace("quick_gelu", key.equals("hidden_act") ? "gelu" : "quick_gelu")
                .replace("1e-05", key.equals("hidden_act") ? "1e-05" : "1e-06"));
    List<String> line = line("average", base, other);
    line.addAll(List.of("--allow-different", key));
    CommandResult.run(line).succeeds();
    List<String> run = line("run", base, other);
    run.set(run.size() - 1, "merged_model_save_path=" + folder.resolve("again"));
    run.add("allow_different=[" + key + "]");
    assertThat(CommandResult.run(run).code()).isZero();
  }

  @Test
  void whatOneModelSaysAloneIsAWarning() throws IOException {
    String wyvern = LLAMA.replace("llama", "wyvern");
    Path base = model("base", "config.json", wyvern);
    Path other = model("other", "config.json", wyvern.replace("64", "64, \"wings\": 2"));
    CommandResult result = CommandResult.run(line("average", base, other));
    assertThat(result.code()).isZero();
    assertThat(result.err())
        .startsWith("warning: ")
        .contains("may not belong together: wings is null and 2");
  }

  @Test
  void aFolderWithoutConfigurationIsSaid() throws IOException {
    Path base = model("base", "config.json", TOWER);
    Path other = model("other", "config.json", TOWER);
    Files.delete(other.resolve("config.json"));
    CommandResult result = CommandResult.run(line("average", base, other));
    assertThat(result.code()).isZero();
    assertThat(result.err()).startsWith("warning: ").contains("other: no config.json there");
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "{'id2label': {'0': 'no', '1': 'yes'}} | {'id2label': {'0': 'yes', '1': 'no'}} | id2label"
            + " is",
        "{'id2label': {'0': 'no', '1': 'yes'}} | {'id2label': {'0': 'no', '1': 'maybe'}} |"
            + " id2label",
        "{'problem_type': 'regression'} | {} | problem_type is \"regression\" and",
        "{'architectures': ['XForSequenceClassification']} | {'architectures':"
            + " ['XForTokenClassification']} | architectures is",
      })
  void headsThatAnswerOtherQuestionsAreNotMerged(String one, String other, String said)
      throws IOException {
    Path base = head("base", one);
    Path member = head("other", other);
    CommandResult.run(line("average", base, member)).fails(1, said, "other/config.json");
    // Where the head is the base's, it may answer what it likes.
    List<String> line = line("average", base, member);
    line.addAll(List.of("--exclude", "classifier"));
    CommandResult.run(line).succeeds();
  }

  @Test
  void numbersAreNoNamesOfClasses() throws IOException {
    Path base = head("base", "{'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}}");
    Path member = head("other", "{'id2label': {'0': 'no', '1': 'yes'}}");
    CommandResult.run(line("average", base, member)).succeeds();
  }

  private Path head(String name, String config) {
    try {
      Path model = Files.createDirectories(folder.resolve(name));
      TestTensors.write(
          model.resolve("model.safetensors"),
          Map.of(
              "encoder.weight", Tensor.of(List.of(2L), 1, 2),
              "classifier.weight", Tensor.of(List.of(2L, 1L), 1, name.length())));
      Files.writeString(model.resolve("config.json"), config.replace('\'', '"'));
      return model;
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write " + name, e);
    }
  }
}
