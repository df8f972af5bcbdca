package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Folders of pictures, with the rows that Python's {@code datasets} made of them:
 * testkit/oracles/picture_folders.py.
 */
final class PictureFoldersTest {
  private static final ImageProcessor RAW = ImageProcessor.clip(2);

  @TempDir Path folder;

  /** An entry of the table, shown by its name. */
  record Case(JsonNode json) {
    @Override
    public String toString() {
      return json.path("name").asText();
    }
  }

  static Stream<Case> folders() throws IOException {
    try (InputStream in =
        Objects.requireNonNull(
            PictureFoldersTest.class.getResourceAsStream("picture-folders.json"))) {
      return StreamSupport.stream(new JsonMapper().readTree(in).spliterator(), false)
          .map(Case::new);
    }
  }

  private void write(String name, byte[] bytes) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(Objects.requireNonNull(file.getParent()));
    Files.write(file, bytes);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("folders")
  void rowsAreThoseOfDatasets(Case one) throws IOException {
    for (Map.Entry<String, JsonNode> file : one.json.path("files").properties()) {
      write(
          file.getKey(),
          file.getValue().asText().getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }
    if (one.json.has("error")) {
      assertThatThrownBy(() -> ImageDatasets.open(folder + "#train", RAW).close())
          .isInstanceOf(InputException.class)
          .hasMessageContaining(folder.toString());
      return;
    }
    for (Map.Entry<String, JsonNode> split : one.json.path("splits").properties()) {
      try (ImageDataset images = ImageDatasets.open(folder + "#" + split.getKey(), RAW)) {
        JsonNode expected = split.getValue();
        assertThat(files(images)).isEqualTo(texts(expected.path("files")));
        assertThat(images.labelled()).isEqualTo(expected.path("labels").isArray());
        if (images.labelled()) {
          assertThat(labels(images)).isEqualTo(expected(expected.path("labels")));
        }
        if (expected.path("names").isArray()) {
          assertThat(images.classNames()).contains(texts(expected.path("names")));
        }
      }
    }
  }

  private List<String> files(ImageDataset images) {
    List<String> files = new ArrayList<>();
    for (long i = 0; i < images.size(); i++) {
      files.add(folder.relativize(Path.of(images.where(i))).toString());
    }
    return files;
  }

  private static List<String> texts(JsonNode list) {
    List<String> texts = new ArrayList<>();
    list.forEach(text -> texts.add(text.asText()));
    return texts;
  }

  /** Names where labels are stored as names, else numbers; null where there is none. */
  private static List<@Nullable Object> labels(ImageDataset images) {
    List<@Nullable Object> labels = new ArrayList<>();
    for (long label : images.labels()) {
      labels.add(
          label == Examples.NO_LABEL
              ? null
              : images.labelsAreNames()
                  ? images.classNames().orElseThrow().get(Math.toIntExact(label))
                  : (Object) label);
    }
    return labels;
  }

  private static List<@Nullable Object> expected(JsonNode labels) {
    List<@Nullable Object> expected = new ArrayList<>();
    for (JsonNode label : labels) {
      if (label.isNull()) {
        expected.add(null);
      } else if (label.isBoolean()) {
        expected.add(label.booleanValue() ? 1L : 0L);
      } else if (label.isTextual()) {
        expected.add(label.textValue());
      } else {
        expected.add(label.longValue());
      }
    }
    return expected;
  }

  /** Slices have row numbers of their own, in batches and in messages. */
  @Test
  void picturesOfASlice() throws IOException {
    for (int i = 0; i < 6; i++) {
      int shade = 40 * i;
      write((i % 2 == 0 ? "a/" : "b/") + i + ".png", Pictures.png(2, 2, (x, y, c) -> shade));
    }
    Files.writeString(folder.resolve("b/3.png"), "no picture");
    // In order: a/0 a/2 a/4 b/1 b/3 b/5.
    try (ImageDataset images = ImageDatasets.open(folder + "#train[-3:]+train[:1]", RAW)) {
      assertThat(images.size()).isEqualTo(4);
      assertThat(images.labels()).containsExactly(1, 1, 1, 0);
      assertThat(images.description()).isEqualTo(folder.getFileName() + "#train[-3:]+train[:1]");
      List<Long> bad = new ArrayList<>();
      try (BatchIterator batches =
              images.batches(new long[] {3, 1, 0, 2}, 4, 1, e -> bad.add(e.row()));
          ImageBatch batch = batches.next()) {
        assertThat(batch.rows()).containsExactly(3, 0, 2);
        assertThat(bad).containsExactly(1L);
      }
      assertThat(images.where(1)).endsWith("b/3.png");
    }
    assertThatThrownBy(() -> ImageDatasets.open(folder + "#train[4:4]", RAW))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("no rows");
  }

  @Test
  void picturesThatAreNotThereAreNamed() throws IOException {
    write("1.png", Pictures.png(2, 2, (x, y, c) -> 9));
    Files.writeString(folder.resolve("metadata.csv"), "file_name,label\n1.png,0\n2.png,1\n");
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW);
        BatchIterator batches = images.batches(new long[] {0, 1}, 2, 0)) {
      assertThatThrownBy(batches::next)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("2.png: cannot read the picture: there is no such file");
    }
  }

  @Test
  void columnsOfMetadataMayHaveOtherNames() throws IOException {
    write("1.png", Pictures.png(2, 2, (x, y, c) -> 9));
    Files.writeString(folder.resolve("metadata.csv"), "photo_file_name,kind\n1.png,3\n");
    Columns columns = Columns.parse("image=photo,label=kind", "--columns");
    try (ImageDataset images = ImageDatasets.open(folder.toString(), columns, RAW)) {
      assertThat(images.labels()).containsExactly(3);
    }
    assertThatThrownBy(() -> ImageDatasets.open(folder.toString(), RAW))
        .hasMessageContaining("no column file_name")
        .hasMessageContaining("photo_file_name, kind");
    assertThatThrownBy(() ->
            ImageDatasets.open(
                folder.toString(), Columns.parse("image=photo,label=x", "--columns"), RAW))
        .hasMessageContaining("no column x; the columns are: photo_file_name, kind");
  }
}
