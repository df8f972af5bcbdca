package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Spellings of a CLIP's config.json, measured: the losses are those of transformers in float64, by
 * java/testkit/oracles/clip_config_losses.py.
 */
final class ClipConfigCommandsTest {
  private static final JsonMapper MAPPER = new JsonMapper();

  @TempDir Path folder;
  private Path inputs;

  @BeforeEach
  void copy() {
    inputs = Cases.copy("case-10", folder);
  }

  static Stream<Arguments> losses() throws IOException {
    JsonNode all =
        MAPPER.readTree(
            Objects.requireNonNull(
                ClipConfigCommandsTest.class.getResourceAsStream("clip-config-losses.json")));
    List<Arguments> arguments = new ArrayList<>();
    all.forEach(each ->
        arguments.add(
            Arguments.of(
                each.path("name").textValue(),
                each.path("config").toString(),
                each.path("loss").doubleValue())));
    return arguments.stream();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("losses")
  void theLossIsThatOfTransformers(String name, String config, double loss) throws IOException {
    Files.writeString(inputs.resolve("clip/config.json"), config);
    Path report = folder.resolve("report.json");
    CommandResult result = evaluate("clip", "--report", report.toString());
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(MAPPER.readTree(report.toFile()).path("loss").doubleValue())
        .isCloseTo(loss, org.assertj.core.data.Offset.offset(2e-5 * loss));
  }

  private CommandResult evaluate(String model, String... more) {
    Path path = inputs.resolve(model);
    List<String> line =
        new ArrayList<>(
            List.of("evaluate", "--model", path.toString(), "--clip", path.toString(), "--heads"));
    line.add(inputs.resolve("head.safetensors").toString());
    line.addAll(List.of("--data", inputs.resolve("pics.parquet").toString()));
    line.addAll(List.of(more));
    return CommandResult.run(line);
  }

  /** Case 10: said once, though the file is read for the model and for the head. */
  @Test
  void anOverruledActivationIsSaidOnce() {
    CommandResult result = evaluate("clip");
    assertThat(result.code()).isZero();
    assertThat(result.err().lines())
        .singleElement()
        .asString()
        .startsWith("warning: ")
        .contains("hidden_act is \"quick_gelu\" in vision_config")
        .contains("\"gelu\" in vision_config_dict, which counts");
    evaluate("legacy").succeeds();
  }

  @Test
  void anUnknownKeyIsSaidOnce() throws IOException {
    change("'model_type': 'clip_vision_model'", "'model_type': 'clip_vision_model', 'swirl': 3");
    CommandResult result = evaluate("legacy");
    assertThat(result.code()).isZero();
    assertThat(result.err().lines())
        .singleElement()
        .asString()
        .contains("vision_config", "\"swirl\"");
  }

  private void change(String from, String to) throws IOException {
    Path config = inputs.resolve("legacy/config.json");
    String text = Files.readString(config);
    assertThat(text).contains(from.replace('\'', '"'));
    Files.writeString(config, text.replace(from.replace('\'', '"'), to.replace('\'', '"')));
  }

  @ParameterizedTest(name = "{1}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "'hidden_size': 24, | 'hidden_size': 24.5,   | key vision_config.hidden_size is 24.5;"
            + " expected a positive integer",
        "'hidden_size': 24, | 'hidden_size': null,   | key vision_config.hidden_size is null;"
            + " expected",
        "'hidden_size': 24, | 'hidden_size': true,   | key vision_config.hidden_size is true;"
            + " expected",
        "'hidden_size': 24, | 'hidden_size': 25,     | vision_config.hidden_size 25 is not a"
            + " multiple",
        "'image_size': 32,  | 'image_size': [32,32], | key vision_config.image_size is [32,32];"
            + " expected",
        "'patch_size': 8,   | 'patch_size': 64,      | patch_size is 64, more than image_size 32",
        "'image_size': 32,  | 'image_size': 32, 'layer_norm_eps': NaN, | layer_norm_eps",
        "'image_size': 32,  | 'image_size': 32, 'pruned_heads': {'0': [1]}, | key"
            + " vision_config.pruned_heads is {\"0\": [1]}, which is not supported",
        "'transformers_version': | 'quantization_config': {'load_in_8bit': true},"
            + " 'transformers_version': | key quantization_config",
        "'model_type': 'clip' | 'model_type': 'clip_text_model' | text tower alone",
        "'eos_token_id': 49407, | 'eos_token_id': [49407], | key text_config.eos_token_id is"
            + " [49407]",
        "'quick_gelu', | 'mish', | the activation \"mish\" is not supported; expected quick_gelu",
      })
  void whatMattersAndCannotBeIsRefusedByName(String from, String to, String message)
      throws IOException {
    // The last of equal keys counts in Python; here they are refused.
    if (to.contains("layer_norm_eps")) {
      String text = Files.readString(inputs.resolve("legacy/config.json"));
      Files.writeString(
          inputs.resolve("legacy/config.json"), text.replace("\"layer_norm_eps\": 1e-05,", ""));
    }
    change(from, to);
    evaluate("legacy").fails(1, "legacy/config.json", message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "'hidden_size': 24,      | 'hidden_size': 24.0,",
        "'attention_dropout': 0.0, | 'attention_dropout': NaN,",
        "'transformers_version': | 'pruned_heads': {}, 'quantization_config': null,"
            + " 'transformers_version':",
        "'transformers_version': | 'torch_dtype': 'float16', 'use_cache': true, 'top_k': 50,"
            + " 'transformers_version':",
      })
  void whatDoesNotMatterLoadsWithoutAWord(String from, String to) throws IOException {
    double before = loss();
    change(from, to);
    assertThat(loss()).isEqualTo(before);
  }

  private double loss() throws IOException {
    Path report = folder.resolve("loss.json");
    evaluate("legacy", "--report", report.toString(), "--overwrite").succeeds();
    return MAPPER.readTree(report.toFile()).path("loss").doubleValue();
  }
}
