package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.LocalData;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Folders that {@code save_to_disk} wrote, and Arrow files
 * (java/testkit/oracles/saved_datasets.py); what is expected is what {@code load_from_disk} gives.
 */
final class SavedDatasetsTest {
  private static final Path FOLDER = folder();
  private static final JsonNode EXPECTED = Json.object(FOLDER.resolve("expected.json"));

  @TempDir Path folder;

  private static Path folder() {
    try {
      Path expected =
          Path.of(
              Objects.requireNonNull(SavedDatasetsTest.class.getResource("saved/expected.json"))
                  .toURI());
      return Objects.requireNonNull(expected.getParent());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static TokenDataset texts(Path source, Columns columns) {
    return TokenDatasets.open(source.toString(), columns, Gpt2TokenizerTest.FOLDER, 512);
  }

  private static List<String> strings(JsonNode values) {
    List<String> strings = new ArrayList<>();
    values.forEach(value -> strings.add(value.asText()));
    return strings;
  }

  private static long[] all(TokenDataset data) {
    return LongStream.range(0, data.size()).toArray();
  }

  /** Labels as names where they are, else as numbers; "null" for none. */
  private static List<String> labels(TokenDataset data) {
    return Arrays.stream(data.labels())
        .mapToObj(label ->
            label == Examples.NO_LABEL
                ? "null"
                : data.labelsAreNames()
                    ? data.classNames().orElseThrow().get((int) label)
                    : Long.toString(label))
        .toList();
  }

  /** As numbers, where Python has -1 in the place of none. */
  private static List<String> expectedLabels(JsonNode values) {
    List<String> labels = new ArrayList<>();
    for (JsonNode value : values) {
      labels.add(
          switch (value.getNodeType()) {
            case BOOLEAN -> value.booleanValue() ? "1" : "0";
            case NUMBER -> value.longValue() == -1 ? "null" : Long.toString(value.longValue());
            default -> value.asText();
          });
    }
    return labels;
  }

  @ParameterizedTest
  @CsvSource({"texts#train", "texts#validation", "stream.arrow", "file.arrow"})
  void textsAndClassNames(String name) {
    JsonNode expected = EXPECTED.get(name);
    try (TokenDataset data = texts(FOLDER.resolve(name), Columns.USUAL);
        Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(Gpt2TokenizerTest.FOLDER, 512)) {
      List<long[]> texts = data.texts(all(data));
      assertThat(texts)
          .containsExactlyElementsOf(
              strings(expected.get("sentence")).stream()
                  .map(text -> tokenizer.encode(text, null))
                  .toList());
      assertThat(labels(data)).isEqualTo(expectedLabels(expected.get("labels")));
      assertThat(data.classNames().isPresent()).isEqualTo(!expected.get("names").isNull());
      data.classNames()
          .ifPresent(names -> assertThat(names).isEqualTo(strings(expected.get("names"))));
    }
  }

  @Test
  void partsOfSplitsInOrder() {
    try (TokenDataset data = texts(FOLDER.resolve("texts#validation+train[-3:]"), Columns.USUAL);
        TokenDataset train = texts(FOLDER.resolve("texts#train"), Columns.USUAL)) {
      assertThat(data.labels()).containsExactly(1, 2, -1, -1, 1, 0);
      long[] shuffled = {5, 0, 3, 4};
      assertThat(data.texts(shuffled).getFirst()).isEqualTo(train.texts(new long[] {6}).getFirst());
      assertThat(data.where(3)).contains("train/data-00001-of-00002.arrow, row 0");
    }
  }

  @Test
  void pictures() {
    Columns columns = Columns.parse("image=img,label=fine_label", "--columns");
    JsonNode expected = EXPECTED.get("pictures");
    try (ImageDataset data =
        ImageDatasets.open(
            FOLDER.resolve("pictures").toString(), columns, ImageProcessor.clip(8))) {
      assertThat(data.size()).isEqualTo(5);
      assertThat(data.labels()).containsExactly(2, 0, 1, 1, 0);
      assertThat(data.classNames()).contains(strings(expected.get("names")));
      List<BadRowException> bad = new ArrayList<>();
      List<Float> reds = new ArrayList<>();
      try (BatchIterator batches = data.batches(new long[] {4, 3, 0, 2}, 1, 2, bad::add)) {
        while (batches.hasNext()) {
          try (ImageBatch batch = batches.next()) {
            if (batch.count() > 0) {
              reds.add(batch.pixels().getAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 27));
            }
          }
        }
      }
      assertThat(bad).singleElement().satisfies(row -> assertThat(row.row()).isEqualTo(3));
      List<Float> wanted = new ArrayList<>();
      for (int row : new int[] {4, 0, 2}) {
        double red = expected.get("colours").get(row).get(0).doubleValue() / 255;
        wanted.add((float) ((red - 0.48145466) / 0.26862954));
      }
      assertThat(reds).hasSameSizeAs(wanted);
      for (int i = 0; i < reds.size(); i++) {
        assertThat(reds.get(i))
            .isCloseTo(wanted.get(i), org.assertj.core.data.Offset.offset(1e-5f));
      }
    }
  }

  /** A mask says how long a text is, so that pad ids at its end are its own. */
  @Test
  void tokenIdsGoBeforeTexts() {
    JsonNode expected = EXPECTED.get("tokens");
    try (TokenDataset data = texts(FOLDER.resolve("tokens"), Columns.USUAL)) {
      assertThat(data.complete()).isTrue();
      List<long[]> wanted = new ArrayList<>();
      List<long[]> types = new ArrayList<>();
      for (int row = 0; row < 3; row++) {
        List<Long> ids = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
          if (expected.get("attention_mask").get(row).get(t).longValue() == 1) {
            ids.add(expected.get("input_ids").get(row).get(t).longValue());
          }
        }
        wanted.add(ids.stream().mapToLong(id -> id).toArray());
        types.add(new long[] {0, 0, 1, 0});
      }
      assertThat(data.texts(new long[] {2, 0})).containsExactly(wanted.get(2), wanted.get(0));
      assertThat(data.types(new long[] {0, 1, 2}).orElseThrow()).containsExactlyElementsOf(types);
      assertThat(data.labels()).containsExactly(1, 0, 1);
    }
    Columns sentence = Columns.parse("sentence=sentence", "--columns");
    try (TokenDataset data = texts(FOLDER.resolve("tokens"), sentence);
        Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(Gpt2TokenizerTest.FOLDER, 512)) {
      assertThat(data.texts(new long[] {1})).containsExactly(tokenizer.encode("two", null));
    }
  }

  @Test
  void rowsWithoutTokensAreBadRows() {
    try (TokenDataset data = texts(FOLDER.resolve("odd-tokens"), Columns.USUAL)) {
      List<BadRowException> bad = new ArrayList<>();
      List<long[]> found = data.texts(all(data), bad::add);
      assertThat(bad).extracting(BadRowException::row).containsExactly(1L, 2L, 3L);
      assertThat(bad.get(0)).hasMessageContaining("input_ids is null");
      assertThat(bad.get(1)).hasMessageContaining("attention_mask is null or not as long");
      assertThat(bad.get(2)).hasMessageContaining("row 3").hasMessageContaining("has a null in it");
      assertThat(found.get(0)).containsExactly(5, 6);
      assertThat(found.get(4)).containsExactly(9, 9);
    }
  }

  static Stream<String> types() {
    return EXPECTED.properties().stream()
        .map(Map.Entry::getKey)
        .filter(name -> name.startsWith("types."));
  }

  @ParameterizedTest
  @MethodSource("types")
  void labelsOfEveryType(String name) {
    String column = name.substring("types.".length());
    try (TokenDataset data =
        texts(FOLDER.resolve("types"), Columns.parse("label=" + column, "--columns"))) {
      assertThat(labels(data)).isEqualTo(expectedLabels(EXPECTED.get(name).get("labels")));
    }
  }

  @ParameterizedTest
  @CsvSource({"timestamp, Timestamp", "list, lists or structs", "decimal, Decimal"})
  void whatHoldsNoLabelsIsRefused(String column, String what) {
    assertThatThrownBy(
            () -> texts(FOLDER.resolve("types"), Columns.parse("label=" + column, "--columns")))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("column " + column + " holds no class labels but " + what);
  }

  @Test
  void columnsThatTheStateLeavesOutAreNotThere() {
    try (TokenDataset data = texts(FOLDER.resolve("formatted"), Columns.USUAL)) {
      assertThat(data.size()).isEqualTo(7);
      assertThat(data.labelled()).isFalse();
      assertThatThrownBy(data::labels)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("_format_columns in state.json leaves out label");
    }
  }

  @Test
  void compressedRowsAreNamed() {
    assertThatThrownBy(() -> texts(FOLDER.resolve("compressed.arrow"), Columns.USUAL))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("compressed.arrow")
        .hasMessageContaining("compressed, which is not read");
  }

  private Path copy(String name) throws IOException {
    Path from = FOLDER.resolve(name);
    Path to = folder.resolve(name);
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Path target = to.resolve(from.relativize(file).toString());
        if (Files.isDirectory(file)) {
          Files.createDirectories(target);
        } else {
          Files.copy(file, target);
        }
      }
    }
    return to;
  }

  private static void replace(Path file, String text, String by) throws IOException {
    String before = Files.readString(file);
    assertThat(before).contains(text);
    Files.writeString(file, before.replace(text, by));
  }

  @Test
  void aFolderThatIsNotWholeIsRefused() throws IOException {
    Path texts = copy("texts");
    assertThatThrownBy(() -> LocalData.find(texts.toString()))
        .hasMessageContaining("several splits (train, validation)");
    assertThatThrownBy(() -> LocalData.find(texts + "#test"))
        .hasMessageContaining("no split 'test'");
    assertThatThrownBy(() -> LocalData.find(texts + "#other/train"))
        .hasMessageContaining("has no configurations");
    Files.delete(texts.resolve("train/data-00001-of-00002.arrow"));
    assertThatThrownBy(() -> LocalData.find(texts + "#train"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("train/data-00001-of-00002.arrow")
        .hasMessageContaining("incomplete");
    assertThat(LocalData.find(texts.resolve("validation").toString())).isPresent();
    Path nested =
        LocalData.find(folder + "#texts/validation").map(DataSource::files).orElseThrow().getLast();
    assertThat(nested).isEqualTo(texts.resolve("validation/data-00000-of-00001.arrow"));
  }

  @Test
  void rowsChosenByIndicesAreRefusedByName() throws IOException {
    Path tokens = copy("tokens");
    replace(
        tokens.resolve("state.json"),
        "\"_data_files\"",
        "\"_indices_data_files\": [{\"filename\": \"indices.arrow\"}],\n  \"_data_files\"");
    assertThatThrownBy(() -> texts(tokens, Columns.USUAL))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("state.json")
        .hasMessageContaining("_indices_data_files")
        .hasMessageContaining("flatten_indices");
  }

  /** Names of files come from outside. */
  @Test
  void noFileOutsideTheFolderIsRead() throws IOException {
    Path tokens = copy("tokens");
    Files.copy(FOLDER.resolve("stream.arrow"), folder.resolve("outside.arrow"));
    replace(tokens.resolve("state.json"), "data-00000-of-00001.arrow", "../outside.arrow");
    assertThatThrownBy(() -> texts(tokens, Columns.USUAL))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("outside.arrow");
  }

  /** Cut anywhere, a file is refused or has whole batches; nothing else comes of it. */
  @Test
  void filesCutShortAreNamed() throws IOException {
    byte[] whole = Files.readAllBytes(FOLDER.resolve("stream.arrow"));
    Path cut = folder.resolve("cut.arrow");
    int refused = 0;
    for (int length = 0; length < whole.length; length += 7) {
      Files.write(cut, Arrays.copyOf(whole, length));
      try (TokenDataset data = texts(cut, Columns.USUAL)) {
        assertThat(data.texts(all(data))).hasSizeLessThanOrEqualTo(7);
        assertThat(data.size() % 3 == 0 || data.size() == 7).isTrue();
      } catch (InputException e) {
        assertThat(e).hasMessageContaining("cut.arrow");
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(whole.length / 14);
  }

  /** Whatever is changed in a file, a message names it or rows are read. */
  @Test
  void damagedFilesAreNamed() throws IOException {
    long seed = 20_261_130;
    Random random = new Random(seed);
    Path damaged = folder.resolve("damaged.arrow");
    for (String name : List.of("stream.arrow", "file.arrow", "tokens/data-00000-of-00001.arrow")) {
      byte[] whole = Files.readAllBytes(FOLDER.resolve(name));
      for (int i = 0; i < 400; i++) {
        byte[] bytes = whole.clone();
        for (int n = 1 + random.nextInt(4); n > 0; n--) {
          bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
        }
        Files.write(damaged, bytes);
        try (TokenDataset data = texts(damaged, Columns.USUAL)) {
          data.texts(all(data), row -> assertThat(row).hasMessageContaining("damaged.arrow"));
          if (data.labelled()) {
            data.labels();
          }
        } catch (InputException e) {
          assertThat(e).as("seed %d, %s %d", seed, name, i).hasMessageContaining("damaged.arrow");
        }
      }
    }
  }
}
