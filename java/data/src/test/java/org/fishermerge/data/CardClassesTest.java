package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Class names that a data set's card states (java/testkit/oracles/card_classes.py); what is
 * expected is what datasets makes of them.
 */
final class CardClassesTest {
  private static final List<String> NAMES = List.of("cat", "dog", "big red bus");

  @TempDir Path folder;

  /** A card, shown by its name. */
  record Card(String name, JsonNode json) {
    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Card> cards() throws IOException {
    try (InputStream in = resource("files/cards.json")) {
      JsonNode all = Json.MAPPER.readTree(in);
      return StreamSupport.stream(all.spliterator(), false)
          .map(json -> new Card(json.get("name").textValue(), json));
    }
  }

  private static InputStream resource(String name) {
    return Objects.requireNonNull(CardClassesTest.class.getResourceAsStream(name), name);
  }

  private TokenDataset data(String table, String readme, String split) throws IOException {
    try (InputStream in = resource("tables/" + table + ".parquet")) {
      Files.copy(in, folder.resolve("data.parquet"));
    }
    Files.writeString(folder.resolve("README.md"), readme);
    return TokenDatasets.open(folder + split, Gpt2TokenizerTest.FOLDER, 512);
  }

  @ParameterizedTest
  @MethodSource("cards")
  void areThoseOfDatasets(Card card) throws IOException {
    JsonNode expected = card.json.get("names");
    List<String> names = new ArrayList<>();
    expected.forEach(name -> names.add(name.textValue()));
    String configuration = card.json.get("config").textValue();
    try (TokenDataset data =
        data(
            "codec-none",
            card.json.get("readme").textValue(),
            configuration == null ? "" : "#" + configuration + "/train")) {
      // Where datasets gives up, the numbers are left as they are.
      assertThat(data.classNames())
          .isEqualTo(expected.isArray() ? Optional.of(names) : Optional.empty());
      assertThat(data.labelsAreNames()).isFalse();
    }
  }

  private static String readme(String names) {
    return "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
        + "        names: ["
        + names
        + "]\n---\n";
  }

  private static MatchedExamples task(TokenDataset data, List<String> model, List<String> remarks) {
    return new MatchedExamples(
        data, 3, Optional.of(model), "model", LabelMap.Matching.AUTO, remarks::add);
  }

  @Test
  void labelsAreMappedByThem() throws IOException {
    List<String> remarks = new ArrayList<>();
    try (TokenDataset data = data("codec-none", readme("'cat', 'dog', 'big red bus'"), "")) {
      MatchedExamples mapped = task(data, List.of("Dog", "big red bus", "cat"), remarks);
      assertThat(remarks).singleElement().asString().contains("by name");
      long[] own = data.labels();
      int[] places = {2, 0, 1};
      for (int i = 0; i < own.length; i++) {
        assertThat(mapped.labels()[i]).isEqualTo(places[(int) own[i]]);
      }
      assertThatThrownBy(() -> task(data, List.of("red", "green", "blue"), remarks))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("cat")
          .hasMessageContaining("green");
    }
  }

  @Test
  void aCardThatContradictsItsFilesIsRefused() throws IOException {
    try (TokenDataset data = data("class-label", readme("'Cat', 'Dog', 'Big Red Bus'"), "")) {
      assertThat(data.classNames()).contains(NAMES);
    }
    Files.delete(folder.resolve("data.parquet"));
    assertThatThrownBy(() -> data("class-label", readme("'dog', 'cat', 'big red bus'"), ""))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("data.parquet")
        .hasMessageContaining("cat, dog, big red bus")
        .hasMessageContaining("README.md names them dog, cat, big red bus");
  }
}
