package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.fishermerge.checkpoint.SafetensorsBytes.entry;
import static org.fishermerge.checkpoint.SafetensorsBytes.file;
import static org.fishermerge.checkpoint.SafetensorsBytes.write;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class ShardedCheckpointTest {
  private static final String ONE = "model-00001-of-00002.safetensors";
  private static final String TWO = "model-00002-of-00002.safetensors";
  private static final String GOOD_MAP = "\"a\":\"" + ONE + "\",\"b\":\"" + TWO + "\"";

  @TempDir Path temp;
  private Path folder = Path.of("");

  @BeforeEach
  void twoShards() throws IOException {
    folder = Files.createDirectory(temp.resolve("model"));
    shard(folder.resolve(ONE), "a");
    shard(folder.resolve(TWO), "b");
  }

  private static Path shard(Path path, String... names) {
    StringBuilder json = new StringBuilder("{");
    for (int i = 0; i < names.length; i++) {
      json.append(i == 0 ? "" : ",").append(entry(names[i], "F32", "[1]", 4L * i, 4L * i + 4));
    }
    return write(path, file(json.append('}').toString(), 4 * names.length));
  }

  private Path index(String json) {
    try {
      return Files.writeString(folder.resolve("model.safetensors.index.json"), json);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path indexOf(String weightMap) {
    return index("{\"metadata\":{\"total_size\":8},\"weight_map\":{" + weightMap + "}}");
  }

  @Test
  void shardsOpenAsOneModel() {
    indexOf(GOOD_MAP);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.tensors().keySet()).containsExactly("a", "b");
      assertThat(checkpoint.files()).hasSize(2);
      assertThat(checkpoint.tensor("b").file()).isEqualTo(folder.resolve(TWO));
      assertThat(checkpoint.floats("b")).containsExactly(0f);
      assertThat(checkpoint.warnings()).isEmpty();
    }
  }

  @Test
  void aSingleFileIsPreferred() {
    indexOf("broken");
    shard(folder.resolve("model.safetensors"), "c");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.tensors().keySet()).containsExactly("c");
    }
  }

  static Stream<Arguments> malformed() {
    return Stream.of(
        Arguments.of("", List.of("JSON object")),
        Arguments.of("[]", List.of("JSON object")),
        Arguments.of("{}", List.of("weight_map")),
        Arguments.of("{\"weight_map\":{}}", List.of("weight_map")),
        Arguments.of("{\"weight_map\":[]}", List.of("weight_map must be an object")),
        Arguments.of("{\"weight_map\":{\"a\":1}}", List.of("\"a\" must be a string")),
        Arguments.of("{\"weight_map\":{\"a\":null}}", List.of("\"a\" must be a string")),
        Arguments.of("{\"weight_map\":{\"a\":\"x\"}", List.of("not valid JSON")),
        Arguments.of("{\"weight_map\":{\"a\":\"x\"}} x", List.of("not valid JSON")),
        Arguments.of("{\"weight_map\":{\"a\":\"x\"}}{}", List.of("after the closing brace")),
        Arguments.of("\ufeff{\"weight_map\":{\"a\":\"x\"}}", List.of("byte order mark")),
        Arguments.of("{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}", List.of("uplicate")),
        Arguments.of("{\"weight_map\":{\"a\":\"x\"},\"weight_map\":{}}", List.of("uplicate")),
        Arguments.of("{\"weight_map\":{\"a\":\"\\ud800\"}}", List.of("surrogate")),
        Arguments.of(
            "{\"x\":" + "[".repeat(10_000) + "}", List.of("not valid JSON", "nested too deep")),
        Arguments.of("{\"weight_map\":" + "{\"a\":".repeat(10_000), List.of("must be a string")),
        Arguments.of(
            "{\"weight_map\":{\"a\":\"none.safetensors\"}}",
            List.of("names the shard \"none.safetensors\"", "not in the folder")),
        // Index and shards disagree.
        Arguments.of(
            map("\"a\":\"" + TWO + "\",\"b\":\"" + ONE + "\""),
            List.of("\"a\" is in the shard \"" + ONE + "\"", "puts it into \"" + TWO + "\"")),
        Arguments.of(
            map(GOOD_MAP + ",\"c\":\"" + TWO + "\""),
            List.of("puts the tensor \"c\" into \"" + TWO + "\"", "does not hold it")),
        Arguments.of(
            map("\"x\":\"" + ONE + "\",\"b\":\"" + TWO + "\""),
            List.of("\"a\" is in the shard", "does not list it")));
  }

  private static String map(String weightMap) {
    return "{\"weight_map\":{" + weightMap + "}}";
  }

  @ParameterizedTest
  @MethodSource
  void malformed(String json, List<String> messageParts) {
    Path index = index(json);
    var thrown =
        assertThatThrownBy(() -> Checkpoint.open(folder))
            .isExactlyInstanceOf(InputException.class)
            .hasMessageStartingWith(index + ": ");
    messageParts.forEach(thrown::hasMessageContaining);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/etc/passwd",
        "..",
        ".",
        "",
        "../other/model.safetensors",
        "a/../../b.safetensors",
        "sub/model.safetensors",
        "..\\\\model.safetensors",
        "sub\\\\model.safetensors",
        "C:\\\\model.safetensors",
        "C:model.safetensors",
        "\\\\\\\\server\\\\share\\\\model.safetensors",
        "//server/share/model.safetensors",
        "file:///etc/passwd",
        "a\\u0000b"
      })
  void onlyPlainFileNames(String shard) {
    Path index = indexOf("\"a\":\"" + shard + "\"");
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith(index + ": ")
        .hasMessageContainingAll("only plain file names", "\"a\"");
  }

  @Test
  void aTensorInTwoShardsIsRefused() {
    shard(folder.resolve(TWO), "a", "b");
    Path index = indexOf(GOOD_MAP);
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(index.toString(), "\"a\" is in two shards", ONE, TWO);
  }

  @ParameterizedTest
  @ValueSource(strings = {"7", "\"8\"", "8.0", "8e0", "1e999", "-8", "\"many\"", "true"})
  void aWrongTotalSizeIsAWarning(String totalSize) {
    boolean right = List.of("\"8\"", "8.0", "8e0").contains(totalSize);
    index("{\"weight_map\":{" + GOOD_MAP + "},\"metadata\":{\"total_size\":" + totalSize + "}}");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.warnings()).hasSize(right ? 0 : 1);
      assertThat(checkpoint.warnings()).allMatch(w -> w.contains("the shards hold 8 bytes"));
    }
  }

  @Test
  void aShardThatTheIndexDoesNotListIsAWarning() {
    indexOf("\"a\":\"" + ONE + "\"");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.tensors().keySet()).containsExactly("a");
      assertThat(checkpoint.warnings()).anyMatch(w -> w.contains("shard " + TWO));
    }
  }

  @Test
  void unknownIndexFieldsAreSkipped() {
    index(
        "{\"x\":[{\"y\":{}}],\"metadata\":{\"z\":{\"total_size\":1}},\"weight_map\":{"
            + GOOD_MAP
            + "}}");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.warnings()).isEmpty();
    }
  }

  @Test
  void aShardThatIsNoFileIsRefused() throws Exception {
    indexOf(GOOD_MAP);
    Path two = folder.resolve(TWO);
    Files.delete(two);
    Files.createDirectory(two);
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(two.toString(), "is a folder");
    Files.delete(two);
    assertThat(new ProcessBuilder("mkfifo", two.toString()).start().waitFor()).isZero();
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(two.toString(), "pipe");
    Files.delete(two);
    Files.createSymbolicLink(two, Path.of("/dev/zero"));
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(two.toString(), "device");
  }

  @Test
  void anIndexThatIsNoFileOrFarTooLongIsRefused() throws Exception {
    Path index = folder.resolve("model.safetensors.index.json");
    assertThat(new ProcessBuilder("mkfifo", index.toString()).start().waitFor()).isZero();
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(index.toString(), "pipe");
    Files.delete(index);
    try (RandomAccessFile file = new RandomAccessFile(index.toFile(), "rw")) {
      file.setLength(100_000_001);
    }
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(index.toString(), "100,000,001 bytes", "at most 100,000,000");
  }

  /** With a lower limit: a map that reaches that of {@link Checkpoint#open} takes seconds. */
  @Test
  void aWeightMapOfTooManyTensorsIsRefused() {
    int most = Integer.getInteger("fishermerge.index-tensors", 10_000);
    assertThat(most).isLessThanOrEqualTo(ShardIndex.MAX_TENSORS);
    StringBuilder map = new StringBuilder();
    for (int i = 0; i <= most; i++) {
      map.append(i == 0 ? "\"" : ",\"").append(i).append("\":\"x\"");
    }
    Path index = indexOf(map.toString());
    assertThatThrownBy(() -> ShardIndex.read(index, most))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(index.toString(), "more than " + most + " tensors");
    assertThat(ShardIndex.read(index, most + 1).weightMap()).hasSize(most + 1);
    if (most == ShardIndex.MAX_TENSORS) {
      assertThatThrownBy(() -> Checkpoint.open(folder))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(index.toString(), "more than " + most + " tensors");
    }
  }

  /** Their own files here; elsewhere one file, whose tensors would then be in two shards. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void shardsWhoseNamesDifferInCaseOrNormalFormAreDifferentFiles() {
    List<String> names =
        List.of("S\u00e9.safetensors", "s\u00e9.safetensors", "Se\u0301.safetensors");
    StringBuilder map = new StringBuilder();
    for (int i = 0; i < names.size(); i++) {
      shard(folder.resolve(names.get(i)), "t" + i);
      map.append(i == 0 ? "" : ",").append("\"t" + i + "\":\"" + names.get(i) + "\"");
    }
    indexOf(map.toString());
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      for (int i = 0; i < names.size(); i++) {
        assertThat(checkpoint.tensor("t" + i).file()).isEqualTo(folder.resolve(names.get(i)));
      }
    }
    indexOf(GOOD_MAP.replace("model-00002", "MODEL-00002"));
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("MODEL-00002", "not in the folder");
  }

  @Test
  void oneFileUnderTwoNamesIsRefused() throws IOException {
    Files.delete(folder.resolve(TWO));
    Files.createLink(folder.resolve(TWO), folder.resolve(ONE));
    Path index = indexOf(GOOD_MAP);
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(index.toString(), "\"a\" is in two shards", ONE, TWO);
  }

  @Test
  void hardLinksAndLinksInsideTheFolderAreAccepted() throws IOException {
    indexOf(GOOD_MAP);
    Path outside = shard(temp.resolve("outside.safetensors"), "b");
    Files.delete(folder.resolve(TWO));
    Files.createLink(folder.resolve(TWO), outside);
    Files.move(folder.resolve(ONE), folder.resolve("real"));
    Files.createSymbolicLink(folder.resolve(ONE), Path.of("real"));
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.tensors()).hasSize(2);
    }
  }

  @Test
  void linksThatTheUserMadeAreFollowed() throws IOException {
    indexOf(GOOD_MAP);
    Path outside = shard(temp.resolve("outside.safetensors"), "b");
    Files.writeString(temp.resolve("settings.json"), "{}");
    Files.createSymbolicLink(folder.resolve("config.json"), temp.resolve("settings.json"));
    Files.delete(folder.resolve(TWO));
    for (Path to : List.of(outside, Path.of("../outside.safetensors"))) {
      Files.createSymbolicLink(folder.resolve(TWO), to);
      try (Checkpoint checkpoint = Checkpoint.open(folder)) {
        assertThat(checkpoint.floats("b")).hasSize(1);
        assertThat(checkpoint.config()).contains(folder.resolve("config.json"));
      }
      Files.delete(folder.resolve(TWO));
    }
    Files.createSymbolicLink(folder.resolve(TWO), Path.of("nowhere"));
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(folder.resolve(TWO).toString(), "nowhere", "not there");
    Files.delete(folder.resolve(TWO));
    shard(folder.resolve(TWO), "b");
    // The folder itself is the user's own choice.
    Path link = Files.createSymbolicLink(temp.resolve("link"), folder);
    try (Checkpoint checkpoint = Checkpoint.open(link)) {
      assertThat(checkpoint.path()).isEqualTo(link);
    }
  }

  @Test
  void theHubCacheIsAccepted() throws IOException {
    Path repository = temp.resolve("models--org--name");
    Path blobs = Files.createDirectories(repository.resolve("blobs"));
    Path snapshot = Files.createDirectories(repository.resolve("snapshots/0123abcd"));
    shard(blobs.resolve("feed"), "w");
    Path link = snapshot.resolve("model.safetensors");
    Files.createSymbolicLink(link, Path.of("../../blobs/feed"));
    try (Checkpoint checkpoint = Checkpoint.open(snapshot)) {
      assertThat(checkpoint.floats("w")).hasSize(1);
    }
    // A blob of another model is not this model's.
    Path others = Files.createDirectories(temp.resolve("models--org--other/blobs"));
    Files.move(blobs.resolve("feed"), others.resolve("feed"));
    Files.delete(link);
    Files.createSymbolicLink(link, Path.of("../../../models--org--other/blobs/feed"));
    assertThatThrownBy(() -> Checkpoint.open(snapshot))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("leads out of its repository");
    // Nor is what a link among the blobs leads to.
    Files.createSymbolicLink(blobs.resolve("feed"), others.resolve("feed"));
    Files.delete(link);
    Files.createSymbolicLink(link, Path.of("../../blobs/feed"));
    assertThatThrownBy(() -> Checkpoint.open(snapshot))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("leads out of its repository");
  }
}
