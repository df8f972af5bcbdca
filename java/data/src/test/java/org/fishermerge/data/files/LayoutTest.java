package org.fishermerge.data.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SplitSlice.Range;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Which files are which split, and which rows a slice is: what Python's {@code datasets} said, by
 * testkit/oracles/dataset_layouts.py.
 */
final class LayoutTest {
  /** Layouts that {@code datasets} refuses and we read, with what we read of split train. */
  private static final Map<String, List<String>> MORE =
      Map.of(
          "a document of that name", List.of("train.parquet"),
          "different kinds", List.of("train.parquet"),
          "card, a name that is not there", List.of("train.parquet"),
          "card, pattern without files", List.of("train.parquet"),
          "card, stars in a word", List.of("a.parquet", "x/b.parquet"));

  @TempDir Path folder;

  /** An entry of the table, shown by its name. */
  record Case(String name, JsonNode json) {
    @Override
    public String toString() {
      return "'" + name + "'";
    }
  }

  private static Stream<Case> table(String file, String key) throws IOException {
    try (InputStream in = Objects.requireNonNull(LayoutTest.class.getResourceAsStream(file))) {
      JsonNode all = new JsonMapper().readTree(in);
      return StreamSupport.stream(all.spliterator(), false)
          .map(json -> new Case(json.path(key).asText(), json));
    }
  }

  static Stream<Case> layouts() throws IOException {
    return table("layouts.json", "name");
  }

  private static List<String> texts(JsonNode list) {
    List<String> texts = new ArrayList<>();
    list.forEach(text -> texts.add(text.asText()));
    return texts;
  }

  private void write(List<String> files) throws IOException {
    for (String file : files) {
      Path path = folder.resolve(file);
      Files.createDirectories(Objects.requireNonNull(path.getParent()));
      Files.writeString(path, "");
    }
  }

  private List<String> files(@Nullable String configuration, @Nullable String split) {
    DataSource found = new DatasetSplit("set", configuration, split).inFolder(folder);
    return found.files().stream().map(file -> folder.relativize(file).toString()).toList();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("layouts")
  void splitsAreThoseOfDatasets(Case layout) throws IOException {
    JsonNode json = layout.json;
    write(texts(json.path("files")));
    if (json.path("readme").isTextual()) {
      Files.writeString(folder.resolve("README.md"), json.path("readme").textValue());
    }
    String configuration =
        json.path("config").isNull() ? null : json.path("config").asText().replace("data_dir:", "");
    if (json.has("error")) {
      List<String> more = MORE.get(layout.name);
      if (more == null) {
        assertThatThrownBy(() -> files(configuration, "train")).isInstanceOf(InputException.class);
      } else {
        assertThat(files(configuration, "train")).isEqualTo(more);
      }
      return;
    }
    assertThat(json.path("splits").size()).isPositive();
    for (Map.Entry<String, JsonNode> split : json.path("splits").properties()) {
      // A file that matches twice is read twice there; here once.
      assertThat(files(configuration, split.getKey()))
          .as(split.getKey())
          .containsExactlyElementsOf(new LinkedHashSet<>(texts(split.getValue())));
    }
    assertThatThrownBy(() -> files(configuration, "none"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(
            "there is no split 'none'; there is "
                + String.join(
                    ", ",
                    json.path("splits").properties().stream().map(Map.Entry::getKey).toList()));
  }

  static Stream<Case> slices() throws IOException {
    return table("slices.json", "spec");
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("slices")
  void rowsAreThoseOfDatasets(Case slice) throws IOException {
    Map<String, Long> sizes = Map.of("train", 103L, "test", 250L, "tiny", 3L);
    write(sizes.keySet().stream().map(s -> "data/" + s + "-00000-of-00001.parquet").toList());
    if (slice.json.has("error") && !slice.name.equals("train + test")) {
      assertThatThrownBy(() -> ranges(slice.name, sizes)).isInstanceOf(InputException.class);
      return;
    }
    List<List<Object>> expected = new ArrayList<>();
    slice
        .json
        .path("ranges")
        .forEach(range ->
            expected.add(
                List.of(range.get(0).asText(), range.get(1).asLong(), range.get(2).asLong())));
    if (slice.name.equals("train + test")) {
      // As the documentation of ReadInstruction has it; load_dataset itself stumbles over spaces.
      expected.addAll(List.of(List.of("train", 0L, 103L), List.of("test", 0L, 250L)));
    }
    if (expected.isEmpty()) {
      assertThatThrownBy(() -> ranges(slice.name, sizes))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("no rows");
    } else {
      assertThat(ranges(slice.name, sizes)).isEqualTo(expected);
    }
  }

  private List<List<Object>> ranges(String text, Map<String, Long> sizes) {
    DataSource found = new DatasetSplit("set", null, text).inFolder(folder);
    List<List<Object>> ranges = new ArrayList<>();
    for (DataSource.Part part : found.parts()) {
      String split =
          folder
              .resolve("data")
              .relativize(part.split().files().getFirst())
              .toString()
              .replaceAll("-.*", "");
      Range range = part.slice().of(Objects.requireNonNull(sizes.get(split)));
      if (range.size() > 0) {
        ranges.add(List.of(split, range.first(), range.end()));
      }
    }
    if (ranges.isEmpty()) {
      throw new InputException("no rows");
    }
    return ranges;
  }

  @Test
  void rangesCountThroughAllSplits() throws IOException {
    write(List.of("train.parquet", "test.parquet"));
    DataSource found =
        new DatasetSplit("set", null, "test[:2]+train[-1:]+test[2:3]").inFolder(folder);
    assertThat(found.files()).hasSize(2);
    assertThat(found.isWhole()).isFalse();
    assertThat(found.description())
        .isEqualTo(folder.getFileName() + "#test[:2]+train[-1:]+test[2:3]");
    assertThat(found.ranges(split -> 10))
        .containsExactly(new Range(0, 2), new Range(19, 20), new Range(2, 3));
    assertThat(new DatasetSplit("set", null, "all").inFolder(folder).isWhole()).isTrue();
  }

  @Test
  void missingShardsAreNamed() throws IOException {
    write(
        List.of(
            "train-00000-of-00004.parquet",
            "train-00002-of-00004.parquet",
            "test-00000-of-00001.parquet"));
    assertThat(files(null, "test")).hasSize(1);
    assertThatThrownBy(() -> files(null, "train"))
        .hasMessage(
            folder
                + ": holds no train-00001-of-00004.parquet, train-00003-of-00004.parquet; of 4"
                + " shards there are 2, and the split is incomplete");
  }

  @Test
  void shardsCountedFromOne() throws IOException {
    write(List.of("train-00001-of-00002.parquet", "train-00002-of-00002.parquet"));
    assertThat(files(null, "train")).hasSize(2);
  }

  @Test
  void aSplitThatWordsHideIsFoundByItsName() throws IOException {
    write(
        List.of(
            "train-00000-of-00001.parquet",
            "validation_matched-00000-of-00001.parquet",
            "validation_mismatched-00000-of-00001.parquet"));
    assertThat(files(null, "validation_matched"))
        .containsExactly("validation_matched-00000-of-00001.parquet");
    DataSource both = new DatasetSplit("set", null, "validation").inFolder(folder);
    assertThat(both.files()).hasSize(2);
    assertThat(both.warnings())
        .singleElement()
        .asString()
        .contains("validation_matched, validation_mismatched together", "set#validation_matched");
  }

  @Test
  void whatLooksLikeSeveralDataSetsIsSaid() throws IOException {
    write(List.of("a/train.parquet", "b/train.parquet", "b/test.parquet"));
    assertThat(new DatasetSplit("set", null, "train").inFolder(folder).warnings())
        .singleElement()
        .asString()
        .contains("of 2 folders together (a, b)", "set#b/train");
    assertThat(new DatasetSplit("set", null, "test").inFolder(folder).warnings()).isEmpty();
    assertThat(files("a", "train")).containsExactly("a/train.parquet");
  }

  @Test
  void twoUploadsOfOneSplitAreSaid() throws IOException {
    write(
        List.of(
            "data/train-00000-of-00001.parquet",
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet"));
    assertThat(new DatasetSplit("set", null, "train").inFolder(folder).warnings())
        .singleElement()
        .asString()
        .contains("train-*-of-00001, data/train-*-of-00002");
  }

  @Test
  void linksOfTheOwnerAreFollowed() throws IOException {
    Path elsewhere = Files.createDirectories(folder.resolve("elsewhere/images"));
    Files.writeString(elsewhere.resolve("0.parquet"), "");
    Path set = Files.createDirectories(folder.resolve("set"));
    Files.createSymbolicLink(set.resolve("train"), elsewhere);
    Files.createSymbolicLink(set.resolve("loop"), set);
    assertThat(new DatasetSplit("set", null, "train").inFolder(set).files())
        .containsExactly(set.resolve("train/0.parquet"));
  }

  @Test
  void filesAndPatternsAreSplitTrain() throws IOException {
    write(List.of("x-1.parquet", "x-2.parquet", "y.parquet", "notes.txt"));
    assertThat(LocalData.find(folder + "/y.parquet#train[:5]").orElseThrow().description())
        .isEqualTo("y.parquet#train[:5]");
    DataSource several = LocalData.find(folder + "/x*.parquet").orElseThrow();
    assertThat(several.files())
        .containsExactly(folder.resolve("x-1.parquet"), folder.resolve("x-2.parquet"));
    assertThatThrownBy(() -> LocalData.find(folder + "/y.parquet#test"))
        .hasMessageContaining("no split 'test'; a file that is named itself is split train");
    for (String pattern : List.of("/*.txt", "/z*.parquet")) {
      assertThatThrownBy(() -> LocalData.find(folder + pattern))
          .isInstanceOf(InputException.class)
          .hasMessageContaining(".parquet or .arrow file");
    }
    assertThat(LocalData.find(folder + "/notes.txt")).isEmpty();
    assertThat(LocalData.find("no/such/folder#train")).isEmpty();
  }

  @Test
  void aNameSaysConfigurationAndSplit() {
    assertThat(LocalData.Named.parse("a/b#c/train[:5%]"))
        .isEqualTo(new LocalData.Named("a/b", "c", "train[:5%]"));
    assertThat(LocalData.Named.parse("a/b#d/c/"))
        .isEqualTo(new LocalData.Named("a/b", "d/c", null));
    assertThat(LocalData.Named.parse("a/b")).isEqualTo(new LocalData.Named("a/b", null, null));
  }

  /** Classes of pictures, by the folders of all splits. */
  @Test
  void foldersAreClasses() throws IOException {
    write(List.of("train/dog/1.png", "train/cat/1.png", "test/dog/2.png", "test/eel/3.png"));
    assertThat(classes("test")).containsExactly("cat", "dog", "eel");
    write(List.of("train/cat/deeper/1.png"));
    assertThat(classes("test")).isEmpty();
    Files.writeString(
        folder.resolve("README.md"),
        "---\nconfigs:\n- {config_name: default, drop_labels: false}\n---\n");
    assertThat(classes("test")).containsExactly("cat", "deeper", "dog", "eel");
    Set<String> warnings = new LinkedHashSet<>();
    assertThat(
            PictureClasses.of(
                Map.of("train", List.of("train/1.png"), "test", List.of("test/2.png")),
                null,
                warnings::add))
        .isEmpty();
    assertThat(warnings).singleElement().asString().contains("no labels");
  }

  private List<String> classes(String split) {
    return new DatasetSplit("set", null, split).inFolder(folder).splits().getFirst().classes();
  }
}
