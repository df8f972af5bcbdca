package org.fishermerge.cli.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.stream.Stream;
import org.assertj.core.api.SoftAssertions;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Values in files and overrides, against OmegaConf 2.3 and Hydra 1.3 (hydra_values.py). */
final class ValuesTest {
  private static final JsonMapper JSON =
      JsonMapper.builder().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).build();

  private static Stream<JsonNode> values() {
    try (InputStream in =
        Objects.requireNonNull(ValuesTest.class.getResourceAsStream("values.jsonl"))) {
      String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      assertThat(text.lines()).hasSizeGreaterThan(300);
      return text.lines()
          .map(line -> {
            try {
              return JSON.readTree(line);
            } catch (IOException e) {
              throw new UncheckedIOException(line, e);
            }
          });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Stream<JsonNode> files() {
    return values().filter(example -> example.has("yaml"));
  }

  @Test
  void filesAreReadAsOmegaConfReadsThem() {
    SoftAssertions.assertSoftly(softly ->
        files()
            .forEach(example -> {
              String text = example.path("yaml").textValue();
              if (example.has("error")) {
                softly
                    .assertThatThrownBy(() -> Yaml.parse(text, "mine.yaml"))
                    .as(text)
                    .isInstanceOf(InputException.class)
                    .hasMessageStartingWith("mine.yaml: ");
              } else {
                JsonNode read = json(Yaml.parse(text, "mine.yaml"));
                softly.assertThat(read).as(text).isEqualTo(example.path("value"));
                // As text too, where the order of keys counts.
                softly.assertThat(read.toString()).isEqualTo(example.path("value").toString());
              }
            }));
  }

  @Test
  void whatIsPrintedIsReadAlike() {
    SoftAssertions.assertSoftly(softly ->
        files()
            .filter(example -> !example.has("error"))
            .forEach(example -> {
              Mapping read = Yaml.parse(example.path("yaml").textValue(), "mine.yaml");
              String printed = Yaml.print(read);
              softly
                  .assertThat(json(Yaml.parse(printed, "printed")))
                  .as(printed)
                  .isEqualTo(json(read));
            }));
  }

  @Test
  void overridesAreReadAsHydraReadsThem() {
    SoftAssertions.assertSoftly(softly ->
        values()
            .filter(example -> example.has("override"))
            .forEach(example -> {
              String text = example.path("override").textValue();
              softly
                  .assertThat(json(Objects.requireNonNull(OverrideParser.parse(text).value())))
                  .as(text)
                  .isEqualTo(example.path("value"));
            }));
  }

  /** Hydra makes keys of other types of these, which nothing can ask for by name. */
  @ParameterizedTest
  @ValueSource(strings = {"yes: 1\n", "models:\n  on: a\n", "~: 1\n", "null: 1\n"})
  void aKeyThatIsNoNameIsRefused(String text) {
    assertThatThrownBy(() -> Yaml.parse(text, "mine.yaml"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("mine.yaml", "is read as", "put quotes around it", "line");
  }

  private static JsonNode json(ConfigValue value) {
    JsonNodeFactory nodes = JsonNodeFactory.instance;
    return switch (value) {
      case Mapping mapping -> {
        ObjectNode object = nodes.objectNode();
        mapping.entries().forEach((key, item) -> object.set(key, json(item)));
        yield object;
      }
      case Sequence list -> {
        var array = nodes.arrayNode();
        list.items().forEach(item -> array.add(json(item)));
        yield array;
      }
      case Scalar(Long number) ->
          // As the mapper reads numbers, by their size.
          number == number.intValue()
              ? nodes.numberNode(number.intValue())
              : nodes.numberNode(number.longValue());
      case Scalar(BigInteger number) -> nodes.numberNode(number);
      case Scalar(Double number) -> nodes.numberNode(number.doubleValue());
      case Scalar(Boolean flag) -> nodes.booleanNode(flag);
      case Scalar(String text) -> nodes.textNode(text);
      case Scalar(var other) -> {
        assertThat(other).isNull();
        yield nodes.nullNode();
      }
    };
  }
}
