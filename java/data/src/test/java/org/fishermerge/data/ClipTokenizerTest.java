package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ClipTokenizerTest {
  private static final Path MODEL = Golden.path("clip-tiny/pretrained");
  private static final long START = 49_406;
  private static final long END = 49_407;

  private static final List<String> texts = new ArrayList<>();
  private static final List<long[]> ids = new ArrayList<>();
  private static final List<long[]> masks = new ArrayList<>();

  @TempDir Path folder;

  @BeforeAll
  static void readGolden() throws IOException {
    for (JsonNode entry :
        Json.MAPPER.readTree(Files.readString(Golden.path("clip_token_ids.json")))) {
      texts.add(entry.get("text").asText());
      ids.add(longs(entry.get("input_ids")));
      masks.add(longs(entry.get("attention_mask")));
    }
  }

  private static long[] longs(JsonNode array) {
    long[] values = new long[array.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = array.get(i).asLong();
    }
    return values;
  }

  @Test
  void matchesTransformers() {
    try (ClipTokenizer tokenizer = ClipTokenizer.open(MODEL, 77)) {
      assertGolden(tokenizer);
    }
  }

  @Test
  void buildsTheSameFromVocabularyAndMerges() throws IOException {
    Files.copy(MODEL.resolve("vocab.json"), folder.resolve("vocab.json"));
    Files.copy(MODEL.resolve("merges.txt"), folder.resolve("merges.txt"));
    try (ClipTokenizer tokenizer = ClipTokenizer.open(folder, 77)) {
      assertGolden(tokenizer);
    }
  }

  private static void assertGolden(ClipTokenizer tokenizer) {
    TokenIds tokens = tokenizer.encode(texts);
    for (int i = 0; i < texts.size(); i++) {
      assertThat(tokens.ids()[i]).as(texts.get(i)).isEqualTo(ids.get(i));
      assertThat(tokens.attentionMask()[i]).as(texts.get(i)).isEqualTo(masks.get(i));
    }
  }

  @Test
  void padsToTheLongestOfTheList() {
    try (ClipTokenizer tokenizer = ClipTokenizer.open(MODEL, 77)) {
      TokenIds tokens = tokenizer.encode(List.of("", "a cat"));
      assertThat(tokens.ids())
          .isDeepEqualTo(new long[][] {{START, END, END, END}, {START, 320, 2368, END}});
      assertThat(tokens.attentionMask()).isDeepEqualTo(new long[][] {{1, 1, 0, 0}, {1, 1, 1, 1}});
    }
  }

  @Test
  void truncationKeepsTheEnd() {
    try (ClipTokenizer tokenizer = ClipTokenizer.open(MODEL, 5)) {
      long[] row = tokenizer.encode(List.of("a cat a cat a cat a cat")).ids()[0];
      assertThat(row).containsExactly(START, 320, 2368, 320, END);
    }
  }

  @Test
  void overridesTheFilesOwnLengths() throws IOException {
    ObjectNode definition = Json.object(MODEL.resolve("tokenizer.json"));
    definition
        .putObject("padding")
        .put("direction", "Right")
        .putNull("pad_to_multiple_of")
        .put("pad_id", 7)
        .put("pad_type_id", 0)
        .put("pad_token", "x")
        .putObject("strategy")
        .put("Fixed", 64);
    definition
        .putObject("truncation")
        .put("direction", "Right")
        .put("max_length", 4)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    Files.writeString(folder.resolve("tokenizer.json"), definition.toString());
    try (ClipTokenizer tokenizer = ClipTokenizer.open(folder, 77)) {
      assertGolden(tokenizer);
    }
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "tokenizer_config.json | {\"pad_token\": \"!\"}",
        "tokenizer_config.json | {\"pad_token\": {\"content\": \"!\"}}",
        "special_tokens_map.json | {\"pad_token\": \"!\"}"
      })
  void padsWithTheModelsToken(String name, String json) throws IOException {
    Files.copy(MODEL.resolve("tokenizer.json"), folder.resolve("tokenizer.json"));
    Files.writeString(folder.resolve(name), json);
    try (ClipTokenizer tokenizer = ClipTokenizer.open(folder, 77)) {
      assertThat(tokenizer.encode(List.of("a", "a cat")).ids()[0])
          .containsExactly(START, 320, END, 0);
    }
  }

  @Test
  void namesWhatIsMissingOrBroken() throws IOException {
    assertRefused("neither tokenizer.json nor vocab.json with merges.txt");
    Files.writeString(folder.resolve("vocab.json"), "{\"a\": 0}");
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\na b c\n");
    assertRefused("merges.txt: line 2 is \"a b c\"");
    Files.writeString(
        folder.resolve("vocab.json"), "{\"<|startoftext|>\": 1, \"<|endoftext|>\": 2}");
    assertRefused("merges.txt: line 2 is \"a b c\"");
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\na b\n");
    assertRefused("not a usable tokenizer");
    Files.writeString(folder.resolve("tokenizer.json"), "{\"model\": ");
    assertRefused("tokenizer.json: not readable as JSON");
    Files.writeString(
        folder.resolve("tokenizer.json"), "{\"model\": {\"vocab\": {\"<|endoftext|>\": 2}}}");
    assertRefused("tokenizer.json: the model is without vocab or merges");
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> ClipTokenizer.open(folder, 77).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message);
  }

  @Test
  void refusesAnEmptyListAndNoRoom() {
    assertThatThrownBy(() -> ClipTokenizer.open(MODEL, 1).close())
        .isInstanceOf(IllegalArgumentException.class);
    try (ClipTokenizer tokenizer = ClipTokenizer.open(MODEL, 77)) {
      assertThatThrownBy(() -> tokenizer.encode(List.of()))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
