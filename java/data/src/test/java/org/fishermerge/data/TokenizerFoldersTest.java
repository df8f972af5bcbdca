package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Some 300 texts and pairs through tokenizer folders in every layout, against ids by transformers
 * (java/testkit/oracles/tokenizer_folders.py).
 */
final class TokenizerFoldersTest {
  private static final JsonNode ORACLE = read();

  @TempDir Path folder;

  private static JsonNode read() {
    try (InputStream raw =
            Objects.requireNonNull(
                TokenizerFoldersTest.class.getResourceAsStream("/tokenizer_folders.json.gz"));
        InputStream in = new GZIPInputStream(raw)) {
      return Json.MAPPER.readTree(in);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  static Stream<String> folders() {
    return StreamSupport.stream(ORACLE.path("folders").spliterator(), false)
        .map(row -> row.path("name").asText());
  }

  private JsonNode write(String name) throws IOException {
    for (JsonNode row : ORACLE.path("folders")) {
      if (row.path("name").asText().equals(name)) {
        for (Map.Entry<String, JsonNode> file : row.path("files").properties()) {
          Files.writeString(folder.resolve(file.getKey()), file.getValue().textValue());
        }
        return row;
      }
    }
    throw new AssertionError(name);
  }

  @Test
  void thereAreEnough() {
    assertThat(ORACLE.path("singles").size() + ORACLE.path("pairs").size())
        .isGreaterThanOrEqualTo(300);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("folders")
  void everyTextHasTheIdsOfTransformers(String name) throws IOException {
    JsonNode row = write(name);
    int most = row.path("most").intValue();
    List<String> wrong = new ArrayList<>();
    if (name.startsWith("clip")) {
      try (ClipTokenizer tokenizer = ClipTokenizer.open(folder, most)) {
        compare(row.path("singles"), ORACLE.path("singles"), wrong, text -> clip(tokenizer, text));
        long[] padded = tokenizer.encode(List.of("a photo of the dog", "")).ids()[1];
        assertThat(padded[padded.length - 1]).isEqualTo(row.path("pad").longValue());
      }
    } else {
      try (Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(folder, most)) {
        compare(
            row.path("singles"),
            ORACLE.path("singles"),
            wrong,
            text -> tokenizer.encode(text.textValue(), null));
        compare(
            row.path("pairs"),
            ORACLE.path("pairs"),
            wrong,
            pair -> tokenizer.encode(pair.get(0).textValue(), pair.get(1).textValue()));
        assertThat(tokenizer.padToken()).hasValue(row.path("pad").longValue());
      }
    }
    assertThat(wrong).isEmpty();
  }

  private static long[] clip(ClipTokenizer tokenizer, JsonNode text) {
    return tokenizer.encode(List.of(text.textValue())).ids()[0];
  }

  private interface Encoder {
    long[] encode(JsonNode text);
  }

  private static void compare(
      JsonNode expected, JsonNode texts, List<String> wrong, Encoder encoder) {
    assertThat(expected.size()).isEqualTo(texts.size());
    for (int i = 0; i < texts.size(); i++) {
      long[] ids = encoder.encode(texts.get(i));
      long[] reference = new long[expected.get(i).size()];
      for (int t = 0; t < reference.length; t++) {
        reference[t] = expected.get(i).get(t).longValue();
      }
      if (!Arrays.equals(ids, reference)) {
        wrong.add(
            texts.get(i) + ": " + Arrays.toString(ids) + ", not " + Arrays.toString(reference));
      }
    }
  }
}
