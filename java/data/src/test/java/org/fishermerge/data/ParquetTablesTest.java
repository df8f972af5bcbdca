package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Tables that pyarrow and datasets wrote, in every codec, encoding and type of label that they
 * write (java/testkit/oracles/tables.py); what is expected is what datasets reads from them.
 */
final class ParquetTablesTest {
  private static final Path FOLDER = folder();
  private static final JsonNode EXPECTED = expected();

  private static Path folder() {
    try {
      Path expected =
          Path.of(
              Objects.requireNonNull(ParquetTablesTest.class.getResource("tables/expected.json"))
                  .toURI());
      return Objects.requireNonNull(expected.getParent());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static JsonNode expected() {
    try {
      return Json.MAPPER.readTree(Files.readString(FOLDER.resolve("expected.json")));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  static Stream<String> tables() {
    return EXPECTED.get("tables").properties().stream().map(entry -> entry.getKey());
  }

  @ParameterizedTest
  @MethodSource("tables")
  void isReadAsDatasetsReadsIt(String name) {
    JsonNode table = EXPECTED.get("tables").get(name);
    JsonNode sentences = EXPECTED.get("sentences");
    String file = FOLDER.resolve(name + ".parquet").toString();
    try (TokenDataset data = TokenDatasets.open(file, Gpt2TokenizerTest.FOLDER, 512);
        Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(Gpt2TokenizerTest.FOLDER, 512)) {
      assertThat(data.size()).isEqualTo(sentences.size());
      List<long[]> texts = data.texts(LongStream.range(0, data.size()).toArray());
      for (int i = 0; i < texts.size(); i++) {
        assertThat(texts.get(i))
            .as("row %d", i)
            .isEqualTo(tokenizer.encode(sentences.get(i).textValue(), null));
      }
      assertThat(labels(data)).isEqualTo(labels(table.get("labels")));
      if (!data.labelsAreNames()) {
        assertThat(data.classNames().isPresent()).isEqualTo(!table.get("names").isNull());
        data.classNames()
            .ifPresent(names -> assertThat(names).isEqualTo(texts(table.get("names"))));
      }
    }
  }

  /** Labels as names where they are, else as numbers; "none" for none. */
  private static List<String> labels(TokenDataset data) {
    List<String> labels = new ArrayList<>();
    for (long label : data.labels()) {
      labels.add(
          label == Examples.NO_LABEL
              ? "none"
              : data.labelsAreNames()
                  ? data.classNames().orElseThrow().get((int) label)
                  : Long.toString(label));
    }
    return labels;
  }

  private static List<String> labels(JsonNode values) {
    List<String> labels = new ArrayList<>();
    for (JsonNode value : values) {
      labels.add(
          switch (value.getNodeType()) {
            case NULL -> "none";
            case BOOLEAN -> value.booleanValue() ? "1" : "0";
            case NUMBER -> Long.toString(value.longValue());
            default -> value.textValue();
          });
    }
    return labels;
  }

  private static List<String> texts(JsonNode values) {
    List<String> texts = new ArrayList<>();
    values.forEach(value -> texts.add(value.textValue()));
    return texts;
  }
}
