package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * config.json is read as transformers reads it: java/testkit/oracles/config_reading.py asked it.
 */
final class ModelConfigTest {
  @TempDir Path folder;

  static Stream<Arguments> readings() throws IOException {
    try (InputStream in = ModelConfigTest.class.getResourceAsStream("config-readings.json")) {
      byte[] list = Objects.requireNonNull(in).readAllBytes();
      String object =
          "{\"all\": " + new String(list, java.nio.charset.StandardCharsets.UTF_8) + "}";
      Object all =
          JsonFile.object(
                  Path.of("config-readings.json"),
                  object.getBytes(java.nio.charset.StandardCharsets.UTF_8))
              .get("all");
      List<Arguments> arguments = new ArrayList<>();
      for (Object each : (List<?>) Objects.requireNonNull(all)) {
        Map<String, @Nullable Object> one = ModelConfig.object(each);
        arguments.add(Arguments.of(JsonFile.text(one.get("stated")), one));
      }
      return arguments.stream();
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("readings")
  void valuesAreThoseOfTransformers(String stated, Map<String, @Nullable Object> reading)
      throws IOException {
    ModelConfig config = read(JsonText.of(reading.get("stated")));
    assertThat(config.modelType()).isNotEmpty();
    reading.forEach((group, expected) -> {
      if (group.equals("stated")) {
        return;
      }
      Map<String, @Nullable Object> values =
          group.equals("top") ? config.values() : ModelConfig.object(config.values().get(group));
      ModelConfig.object(expected)
          .forEach((key, value) -> {
            Object actual = values.get(key);
            if (value instanceof BigDecimal number) {
              assertThat(actual).as("%s %s", group, key).isInstanceOf(BigDecimal.class);
              assertThat((BigDecimal) actual).as("%s %s", group, key).isEqualByComparingTo(number);
            } else {
              assertThat(actual).as("%s %s", group, key).isEqualTo(value);
            }
          });
    });
  }

  private ModelConfig read(String json) throws IOException {
    return ModelConfig.read(Files.writeString(folder.resolve("config.json"), json));
  }

  @Test
  void whatCountsBeforeAnotherValueIsSaid() throws IOException {
    assertThat(
            read("""
            {"model_type": "clip", "text_config": {},
             "vision_config": {"hidden_act": "quick_gelu", "patch_size": 16,
               "attention_dropout": 0.5, "layer_norm_eps": 9.999999747378752e-06},
             "vision_config_dict": {"hidden_act": "gelu"}}\
            """)
                .warnings())
        .hasSize(2)
        .anyMatch(warning -> warning.contains("\"gelu\" in vision_config_dict, which counts"))
        .anyMatch(warning -> warning.contains("patch_size is 16 in vision_config, but 32"));
  }

  /** As the file of openai/clip-vit-large-patch14 has them. */
  @Test
  void groupsThatSayTheSameAreNotWorthAWord() throws IOException {
    assertThat(
            read("""
            {"model_type": "clip",
             "text_config": {"hidden_size": 768, "eos_token_id": 2, "pad_token_id": 1},
             "text_config_dict": {"hidden_size": 768},
             "vision_config": {"patch_size": 14, "dropout": 0.0, "bos_token_id": null},
             "vision_config_dict": {"patch_size": 14}}\
            """)
                .warnings())
        .isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'architectures': ['CLIPVisionModelWithProjection'], 'hidden_size': 8} |"
            + " clip_vision_model",
        "{'model_type': 'clip_vision_model_with_projection'} | clip_vision_model",
        "{'architectures': ['CLIPModel'], 'vision_config': {}, 'text_config': {}} | clip",
        "{'architectures': ['GPT2ForSequenceClassification']} | gpt2",
        "{'hidden_size': 8} | ''",
      })
  void theModelTypeMayComeFromTheNamesOfClasses(String json, String type) throws IOException {
    assertThat(read(json.replace('\'', '"')).modelType()).isEqualTo(type);
  }

  @Test
  void aTowersOwnGroupCounts() throws IOException {
    ModelConfig config =
        read("{\"model_type\": \"clip_vision_model\", \"vision_config\": {\"patch_size\": 7}}");
    assertThat(config.values()).containsEntry("patch_size", new BigDecimal(7));
    assertThat(config.values()).containsEntry("hidden_act", "quick_gelu");
  }

  @Test
  void nanAndInfinityLoad() throws IOException {
    assertThat(read("{\"model_type\": \"x\", \"a\": NaN, \"b\": -Infinity}").values())
        .containsEntry("a", Double.NaN)
        .containsEntry("b", Double.NEGATIVE_INFINITY);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[1]                                              | expected a JSON object",
        "{'model_type': 3}                                | key model_type is 3; expected a string",
        "{'model_type': 'clip', 'vision_config': 'x'}     | key vision_config is \"x\"; expected"
            + " an",
        "{'model_type': 'clip', 'text_config_dict': [1]}  | key text_config_dict is [1]; expected",
        "{'a': 1} {}                                      | not valid JSON",
      })
  void whatIsNoConfigurationIsRefusedByName(String json, String message) {
    assertThatThrownBy(() -> read(json.replace('\'', '"')))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("config.json")
        .hasMessageContaining(message);
  }

  /** JSON of the values that {@link JsonFile} reads. */
  private static final class JsonText {
    static String of(@Nullable Object value) {
      if (value instanceof Map<?, ?> map) {
        List<String> entries = new ArrayList<>();
        map.forEach((key, each) -> entries.add("\"" + key + "\": " + of(each)));
        return "{" + String.join(", ", entries) + "}";
      }
      return value instanceof String text ? "\"" + text + "\"" : String.valueOf(value);
    }
  }
}
