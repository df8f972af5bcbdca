package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.DatasetSplit;
import org.fishermerge.testkit.TestHub;
import org.fishermerge.testkit.TestHub.Request;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Data sets laid out as those on the hub are. */
final class DatasetSplitTest {
  private static final String ID = "org/data";

  /** Pictures with a default configuration, as tanganke/sun397 and its kin. */
  private static final String PICTURES =
      """
      ---
      license: mit
      dataset_info:
        features:
        - name: label
          dtype:
            class_label:
              names:
                '0': abbey
      configs:
      - config_name: default
        data_files:
        - split: train
          path: data/train-*
        - split: test
          path: data/test-*
        - split: contrast
          path: data/contrast-*
      ---
      # Pictures
      """;

  /** Several configurations and no default, as ufldl-stanford/svhn and nyu-mll/glue. */
  private static final String SEVERAL =
      """
      ---
      configs:
      - config_name: cola
        data_files:
        - split: train
          path: cola/train-*
      - config_name: mnli
        data_files:
        - split: train
          path: mnli/train-*
        - split: validation_matched
          path: mnli/validation_matched-*
        - split: validation_mismatched
          path: mnli/validation_mismatched-*
      ---
      """;

  @TempDir Path folder;
  private TestHub server;
  private Path data;
  private final Map<String, String> environment = new HashMap<>();

  @BeforeEach
  void start() {
    server = TestHub.start();
    data = folder.resolve("served");
    server.repository(TestHub.Kind.DATASET, ID, data);
    environment.put("HF_HOME", folder.resolve("home").toString());
    environment.put("HF_ENDPOINT", server.endpoint());
  }

  @AfterEach
  void stop() {
    server.close();
  }

  /** Files whose content is their name. */
  private static void write(Path folder, String... names) {
    for (String name : names) {
      HubFixture.write(folder.resolve(name), name);
    }
  }

  private void card(String text) {
    HubFixture.write(data.resolve("README.md"), text);
  }

  private DataSource find(String source, @Nullable String configuration, String split) {
    try (Hub hub = new Hub(HubSettings.from(environment), HubProgress.NONE)) {
      DatasetSplit wanted = new DatasetSplit(source, configuration, split);
      Path local = Path.of(source);
      return Files.isDirectory(local)
          ? wanted.inFolder(local)
          : HubDatasets.find(hub, Repository.dataset(source), wanted).get();
    }
  }

  private List<String> files(String source, @Nullable String configuration, String split) {
    List<Path> files = find(source, configuration, split).files();
    assertThat(files).allSatisfy(file -> assertThat(file).isRegularFile());
    return files.stream().map(file -> folder.relativize(file).toString()).toList();
  }

  @Test
  void classNamesOfTheCardComeWithTheFiles() {
    write(data, "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet");
    write(data, "data/contrast-00000-of-00001.parquet");
    card(PICTURES);
    assertThat(find(ID, null, "test").splits().getFirst().classNames())
        .isEqualTo(Map.of("label", List.of("abbey")));
  }

  /** Nobody has converted it, for datasets does not read it from the hub. */
  @Test
  void whatSaveToDiskWroteIsReadFromTheHubToo() {
    HubFixture.write(data.resolve("dataset_dict.json"), "{\"splits\": [\"train\", \"test\"]}");
    for (String split : List.of("train", "test")) {
      write(data, split + "/dataset_info.json", split + "/data-00000-of-00001.arrow");
      HubFixture.write(
          data.resolve(split + "/state.json"),
          "{\"_data_files\": [{\"filename\": \"data-00000-of-00001.arrow\"}], \"_split\": null}");
    }
    assertThat(served(null, "test"))
        .containsExactly(
            "test/state.json", "test/dataset_info.json", "test/data-00000-of-00001.arrow");
    assertThat(downloaded()).noneMatch(path -> path.contains("train/"));
  }

  private List<String> served(@Nullable String configuration, String split) {
    String snapshot = "home/hub/datasets--org--data/snapshots/" + TestHub.commit(data) + "/";
    return files(ID, configuration, split).stream()
        .map(file -> {
          assertThat(file).startsWith(snapshot);
          return file.substring(snapshot.length());
        })
        .toList();
  }

  private List<String> downloaded() {
    return server.requests().stream()
        .filter(request -> request.method().equals("GET") && request.path().contains("/resolve/"))
        .map(Request::path)
        .map(path -> path.replaceAll(".*/resolve/[^/]*/", ""))
        .toList();
  }

  @Test
  void theCardSaysWhichFilesMakeUpASplit() {
    card(PICTURES);
    write(
        data,
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
        "data/contrast-00000-of-00001.parquet");
    assertThat(served(null, "train"))
        .containsExactly("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet");
    assertThat(downloaded())
        .containsExactlyInAnyOrder(
            "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet");
    assertThat(served("default", "test")).containsExactly("data/test-00000-of-00001.parquet");
    assertThatThrownBy(() -> served(null, "validation"))
        .isInstanceOf(InputException.class)
        .hasMessage(
            "data set org/data: there is no split 'validation'; there is train, test, contrast");
    assertThatThrownBy(() -> served("other", "train"))
        .isInstanceOf(InputException.class)
        .hasMessage("data set org/data has no configuration 'other'; there is default");
  }

  @Test
  void configurations() {
    card(SEVERAL);
    write(
        data,
        "cola/train-00000-of-00001.parquet",
        "mnli/train-00000-of-00001.parquet",
        "mnli/validation_matched-00000-of-00001.parquet",
        "mnli/validation_mismatched-00000-of-00001.parquet");
    assertThat(served("cola", "train")).containsExactly("cola/train-00000-of-00001.parquet");
    assertThat(served("mnli", "validation_matched"))
        .containsExactly("mnli/validation_matched-00000-of-00001.parquet");
    assertThatThrownBy(() -> served(null, "train"))
        .isInstanceOf(InputException.class)
        .hasMessage("data set org/data has several configurations; name one of cola, mnli");
    assertThatThrownBy(() -> served("cola", "test"))
        .isInstanceOf(InputException.class)
        .hasMessage("org/data, cola: there is no split 'test'; there is train");
  }

  @Test
  void theOnlyConfigurationNeedsNoName() {
    // As ylecun/mnist.
    card(SEVERAL.replaceAll("(?s)- config_name: mnli.*---", "---"));
    write(data, "cola/train-00000-of-00001.parquet");
    assertThat(served(null, "train")).containsExactly("cola/train-00000-of-00001.parquet");
  }

  @Test
  void theDefaultIsMarked() {
    card(SEVERAL.replace("- config_name: mnli\n", "- config_name: mnli\n  default: true\n"));
    write(data, "cola/train-00000-of-00001.parquet", "mnli/train-00000-of-00001.parquet");
    assertThat(served(null, "train")).containsExactly("mnli/train-00000-of-00001.parquet");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "data_files: 'b/*.parquet'",
        "data_files: ['b/x.parquet', './b/y.parquet', 'b/*.parquet']",
        "data_files: {train: 'b/[xy].parquet', test: 'a/*'}",
        "data_files: [{split: train, path: ['b/?.parquet']}]",
        "data_files: [{split: train, path: '**/[!z].parquet'}]",
        "data_files: 'b/**'",
        "{data_dir: b, data_files: '*.parquet'}",
        "{data_dir: ./b/, data_files: {train: '**.parquet'}}"
      })
  void patternsComeInManyForms(String form) {
    String entry = form.startsWith("{") ? form : "{" + form + "}";
    card("---\r\nconfigs:\r\n- " + entry + "\r\n---\r\n");
    write(data, "a/z.parquet", "b/x.parquet", "b/y.parquet");
    assertThat(served(null, "train")).containsExactly("b/x.parquet", "b/y.parquet");
  }

  @Test
  void aFolderWithoutPatternsGoesByNames() {
    card(
        "---\nconfigs:\n- {config_name: one, data_dir: one}\n- {config_name: two, data_dir: two}\n---\n");
    write(data, "one/train-00000-of-00001.parquet", "two/train.parquet", "two/test.parquet");
    assertThat(served("one", "train")).containsExactly("one/train-00000-of-00001.parquet");
    assertThat(served("two", "test")).containsExactly("two/test.parquet");
  }

  @ParameterizedTest
  @CsvSource({
    "data/train-00000-of-00001.parquet, , train",
    "data/train-00000-of-00001-0a1b2c3d4e5f.parquet, , train",
    "train.parquet, , train",
    "data/validation.parquet, , validation",
    "train-0.parquet, , train",
    "0000.parquet, , train",
    "cropped_digits/train-00000-of-00001.parquet, cropped_digits, train",
    "cropped_digits/train-00000-of-00001.parquet, , train",
    "default/train/0000.parquet, default, train",
    "data/mnist/test/0000.parquet, mnist, test"
  })
  void withoutACardNamesAreUnderstood(String file, @Nullable String configuration, String split) {
    write(data, file, "notes.txt");
    assertThat(served(configuration, split)).containsExactly(file);
    assertThatThrownBy(() -> served(configuration, "none"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("there is no split 'none'; there is " + split);
  }

  @Test
  void severalConfigurationsByName() {
    card("# No configurations here\n");
    write(data, "a/train.parquet", "b/train.parquet");
    assertThat(served("b", "train")).containsExactly("b/train.parquet");
    assertThatThrownBy(() -> served("c", "train"))
        .isInstanceOf(InputException.class)
        .hasMessage("data set org/data has no configuration 'c'; there is a, b");
    // As datasets does, which knows nothing of configurations without a card.
    assertThat(served(null, "train")).containsExactly("a/train.parquet", "b/train.parquet");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"# A script\n", "---\nconfigs:\n- {config_name: one, data_files: '*.csv'}\n---\n"})
  void whatIsNoParquetIsTakenFromTheHubsConversion(String text) {
    card(text);
    write(data, "data.csv");
    assertThatThrownBy(() -> served("one", "train"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no Parquet files of split train")
        .hasMessageContaining("(revision refs/convert/parquet): there is no such revision");
    Path converted = folder.resolve("converted");
    write(converted, "one/train/0000.parquet", "one/train/0001.parquet", "one/test/0000.parquet");
    server.repository(TestHub.Kind.DATASET, ID, "refs/convert/parquet", converted);
    server.forget();
    assertThat(files(ID, "one", "train"))
        .allMatch(file -> file.contains(TestHub.commit(converted)))
        .extracting(file -> file.replaceAll(".*/one/", "one/"))
        .containsExactly("one/train/0000.parquet", "one/train/0001.parquet");
    assertThat(downloaded()).doesNotContain("data.csv", "one/test/0000.parquet");
  }

  @Test
  void halfOfASplitIsRefused() {
    write(data, "data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet");
    assertThatThrownBy(() -> served(null, "train"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(
            "holds no data/train-00001-of-00003.parquet; of 3 shards there are 2");
  }

  @Test
  void offlineWhatIsMissingOfASplitIsNamed() {
    card(PICTURES);
    write(data, "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet");
    served(null, "train");
    environment.put("HF_HUB_OFFLINE", "1");
    server.forget();
    assertThat(served(null, "train")).containsExactly("data/train-00000-of-00001.parquet");
    assertThatThrownBy(() -> served(null, "test"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("not in the cache: data/test-00000-of-00001.parquet");
    assertThat(server.requests()).isEmpty();
  }

  @Test
  void aPatternWithoutFilesIsNamed() {
    card(PICTURES);
    write(data, "data/train-00000-of-00001.parquet");
    assertThatThrownBy(() -> served(null, "test"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no files of split test");
  }

  @ParameterizedTest
  @CsvSource({
    "'---\nconfigs: [unclosed\n---\n', the YAML at its top is not valid",
    "'---\na: 1\na: 2\n---\n', the YAML at its top is not valid",
    "'---\nconfigs:\n- just text\n---\n', configs must be a list of mappings",
    "'---\nconfigs: NESTED\n---\n', the YAML at its top is not valid: it is nested too deep",
    "'---\nconfigs:\n- data_files: &x [*x]\n---\n', configs: expected texts",
    "'---\nconfigs:\n- data_files: [{path: [[a]]}]\n---\n', configs: expected texts",
    "'---\nconfigs:\n- config_name: {a: b}\n---\n', configs: expected texts"
  })
  void aBrokenCardIsNamed(String text, String message) {
    card(text.replace("NESTED", "[".repeat(20_000)));
    write(data, "train.parquet");
    assertThatThrownBy(() -> served(null, "train"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("README.md: " + message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"---\n---\n", "---\nconfigs:\n---\n", "---\nnot closed: 1\n", "", "\n---"})
  void aCardWithoutConfigurations(String text) {
    card(text);
    write(data, "train.parquet");
    assertThat(served(null, "train")).containsExactly("train.parquet");
  }

  @Test
  void aFolderStandsForAnyId() {
    Path local = folder.resolve("mine");
    write(local, "train-00000-of-00001.parquet", "test-00000-of-00001.parquet");
    String source = local.toString();
    assertThat(files(source, null, "train")).containsExactly("mine/train-00000-of-00001.parquet");
    // Which subset it holds its owner knows.
    assertThat(files(source, "cropped_digits", "test"))
        .containsExactly("mine/test-00000-of-00001.parquet");
    assertThatThrownBy(() -> files(source, null, "validation"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("there is no split 'validation'; there is train, test");
    Path empty = folder.resolve("empty");
    write(empty, "notes.txt");
    assertThatThrownBy(() -> files(empty.toString(), null, "train"))
        .isInstanceOf(InputException.class)
        .hasMessage(
            empty
                + ": split train is of .txt files, which are not read; data is a folder of .parquet"
                + " files or of pictures");
    assertThat(server.requests()).isEmpty();
  }

  @Test
  void aFolderWithACard() {
    Path local = folder.resolve("mine");
    HubFixture.write(local.resolve("README.md"), SEVERAL);
    write(local, "cola/train-00000-of-00001.parquet", "mnli/train-00000-of-00001.parquet");
    assertThat(files(local.toString(), "mnli", "train"))
        .containsExactly("mine/mnli/train-00000-of-00001.parquet");
  }
}
