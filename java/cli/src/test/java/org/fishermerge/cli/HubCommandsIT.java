package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.TestHub;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The commands that FusionBench's page on Fisher merging gives, word for word, in a process of
 * their own that reaches nothing but a hub on the loopback interface. Runs that the hub must not
 * notice are made in this JVM.
 */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
final class HubCommandsIT {
  private static final String CLIP_BASE =
      "method=fisher_merging/clip_fisher_merging modelpool=CLIPVisionModelPool/clip-vit-base-patch32_TA8"
          + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8";
  private static final String CLIP_LARGE =
      "method=fisher_merging/clip_fisher_merging method.batch_size=8 method.num_workers=4"
          + " modelpool=CLIPVisionModelPool/clip-vit-large-patch14_TA8"
          + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8"
          + " taskpool.clip_model=openai/clip-vit-large-patch14";
  private static final String GPT2 =
      "method=gpt2_fisher_merging method.num_fisher_examples=512 method.batch_size=8"
          + " modelpool=gpt-2_glue taskpool=gpt-2_glue";

  @TempDir static Path shared;
  private static TestRepositories repositories;

  @TempDir Path folder;
  private TestHub hub;

  @BeforeAll
  static void writeRepositories() throws IOException, SQLException {
    repositories = new TestRepositories(shared);
    repositories.write();
  }

  @BeforeEach
  void startHub() throws IOException {
    hub = TestHub.start();
    repositories.serve(hub);
  }

  @AfterEach
  void stopHub() {
    hub.close();
  }

  // ---- the three commands ----

  @ParameterizedTest(name = "{0}")
  @CsvSource({"base, " + CLIP_BASE, "large, " + CLIP_LARGE})
  void clip(String size, String words) throws IOException {
    CommandResult first = command(words);
    assertThat(first.code()).as(first.err()).isZero();
    JsonNode report = report();
    List<String> keys = new ArrayList<>(List.of("model_info"));
    keys.addAll(TestRepositories.CLIP_TASKS);
    keys.addAll(List.of("average", "fisher_merge"));
    assertThat(report.fieldNames()).toIterable().containsExactlyElementsOf(keys);
    assertThat(report.path("model_info").fieldNames())
        .toIterable()
        .containsExactly("trainable_params", "all_params", "trainable_percentage");
    for (String task : TestRepositories.CLIP_TASKS) {
      assertThat(report.path(task).fieldNames()).toIterable().containsExactly("accuracy", "loss");
      // A chance of 1 in 397 to 1 in 10, and a loss about the logarithm of that.
      assertThat(report.path(task).path("loss").doubleValue()).isBetween(1.0, 12.0);
    }
    assertThat(first.out()).containsPattern("(?m)^average +[\\d.]+ +[\\d.]+ +40$");
    String base =
        size.equals("base") ? "openai/clip-vit-base-patch32" : "openai/clip-vit-large-patch14";
    assertThat(report.at("/fisher_merge/models/_pretrained_/id").textValue()).isEqualTo(base);
    assertThat(first.err()).contains(base + ": downloaded, ");

    // Each of what is needed once, and nothing else.
    assertDownloadedOnce("model.safetensors", 9);
    assertDownloadedOnce("train-00000-of-00002.parquet", 8);
    assertDownloadedOnce("train-00001-of-00002.parquet", 8);
    assertDownloadedOnce("test-00000-of-00001.parquet", 8);
    assertNothingElseDownloaded(
        "/model.safetensors",
        "/train-00000-of-00002.parquet",
        "/train-00001-of-00002.parquet",
        "/test-00000-of-00001.parquet");

    assertSecondRunEstimatesNothing(words, TestRepositories.CLIP_TASKS);
  }

  @Test
  void gpt2() throws IOException {
    CommandResult first = command(GPT2);
    assertThat(first.code()).as(first.err()).isZero();
    JsonNode report = report();
    List<String> tasks = List.copyOf(TestRepositories.GLUE_TASKS.keySet());
    List<String> keys = new ArrayList<>(tasks);
    keys.addAll(List.of("average", "fisher_merge"));
    assertThat(report.fieldNames()).toIterable().containsExactlyElementsOf(keys);
    for (String task : tasks) {
      double accuracy = report.path(task).path("accuracy").doubleValue();
      assertThat(accuracy * 5).isCloseTo(Math.rint(accuracy * 5), within5());
    }
    assertThat(report.at("/fisher_merge/fishers/1/data").textValue())
        .isEqualTo("nyu-mll/glue/mnli#train");
    assertThat(report.at("/fisher_merge/fishers/1/examples").longValue()).isEqualTo(10);
    assertDownloadedOnce("model.safetensors", 8);
    assertNothingElseDownloaded(
        "/model.safetensors",
        "/train-00000-of-00001.parquet",
        "/validation-00000-of-00001.parquet",
        "/validation_matched-00000-of-00001.parquet");
    assertSecondRunEstimatesNothing(GPT2, tasks);
  }

  private static org.assertj.core.data.Offset<Double> within5() {
    return org.assertj.core.data.Offset.offset(1e-5);
  }

  /** Nor does it need the hub, nor the network. */
  private void assertSecondRunEstimatesNothing(String words, List<String> tasks)
      throws IOException {
    hub.forget();
    Files.delete(reportFile());
    CommandResult second = offline(words + " method.minimal_fisher_weight=1e-3");
    assertThat(second.code()).as(second.err()).isZero();
    for (String task : tasks) {
      assertThat(second.err()).contains(task + ": Fisher information from ");
    }
    assertThat(second.err()).doesNotContain("Fisher information over", "downloaded");
    assertThat(hub.requests()).isEmpty();
    assertThat(report().at("/fisher_merge/minimal_fisher_weight").doubleValue()).isEqualTo(1e-3);
    report()
        .at("/fisher_merge/fishers")
        .forEach(fisher -> assertThat(fisher.path("reused").booleanValue()).isTrue());
  }

  private void assertDownloadedOnce(String file, int repositoriesWithIt) {
    List<String> paths =
        hub.requests("GET", "/" + file).stream()
            .filter(request -> !request.storage())
            .map(TestHub.Request::path)
            .toList();
    assertThat(paths).hasSize(repositoriesWithIt).doesNotHaveDuplicates();
  }

  private void assertNothingElseDownloaded(String... large) {
    assertThat(
            hub.requests().stream()
                .filter(request -> !request.storage() && request.method().equals("GET"))
                .map(request -> request.path().replaceAll("\\?.*", ""))
                .filter(path -> !path.startsWith("/api/"))
                .filter(path -> !path.endsWith(".json") && !path.endsWith("merges.txt"))
                .filter(path -> !path.matches("/datasets/.*README.md"))
                .filter(path -> Stream.of(large).noneMatch(path::endsWith)))
        .isEmpty();
  }

  // ---- where things come from makes no difference ----

  @Test
  void foldersGiveTheSameBitsAsTheHub() throws IOException {
    Path both = Files.createDirectories(folder.resolve("both"));
    for (String kind : List.of("models", "datasets")) {
      TestRepositories.link(shared.resolve(kind), both);
    }
    List<byte[]> merged = new ArrayList<>();
    for (boolean local : List.of(true, false)) {
      Path to = folder.resolve(local ? "from-folders" : "from-hub");
      List<String> words = new ArrayList<>(List.of(CLIP_BASE.split(" ")));
      words.addAll(
          List.of(
              "print_config=false",
              "taskpool=dummy",
              "path.root_dir=" + to,
              "merged_model_save_path=" + to.resolve("merged")));
      if (local) {
        words.addAll(List.of("--hub-dir", both.toString()));
      }
      CommandResult result = CommandResult.run(environment(Map.of()), words);
      assertThat(result.code()).as(result.err()).isZero();
      assertThat(hub.requests().isEmpty()).isEqualTo(local);
      merged.add(Files.readAllBytes(to.resolve("merged/model.safetensors")));
    }
    assertThat(merged.get(0)).isEqualTo(merged.get(1));
  }

  /** What Python's client leaves: blobs, snapshots that link to them, and a reference. */
  @Test
  void aCacheOfPythonsClientDoesOffline() throws IOException {
    Path cache = folder.resolve("hf/hub");
    List<String> ids = new ArrayList<>(List.of("gpt2"));
    TestRepositories.GLUE_TASKS.keySet().forEach(task -> ids.add("tanganke/gpt2_" + task));
    for (String id : ids) {
      cache(cache.resolve("models--" + id.replace("/", "--")), repositories.model(id));
    }
    cache(cache.resolve("datasets--nyu-mll--glue"), repositories.dataset("nyu-mll/glue"));
    CommandResult result = offline(GPT2);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(hub.requests()).isEmpty();
    assertThat(report().fieldNames()).toIterable().contains("cola", "sst2", "average");

    Files.delete(cache.resolve("models--tanganke--gpt2_rte/refs/main"));
    CommandResult missing = offline(GPT2);
    assertThat(missing.code()).isEqualTo(1);
    assertThat(missing.err())
        .contains("model tanganke/gpt2_rte (revision main) is not in the cache", "HF_HUB_OFFLINE");
  }

  private static void cache(Path to, Path repository) throws IOException {
    String commit = TestHub.commit(repository);
    Path snapshot = Files.createDirectories(to.resolve("snapshots").resolve(commit));
    Path blobs = Files.createDirectories(to.resolve("blobs"));
    Files.createDirectories(to.resolve("refs"));
    Files.writeString(to.resolve("refs/main"), commit);
    try (Stream<Path> files = Files.walk(repository)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path blob = blobs.resolve(TestHub.tag(file));
        Files.write(blob, Files.readAllBytes(file));
        Path link = snapshot.resolve(repository.relativize(file).toString());
        Path parent = Files.createDirectories(Objects.requireNonNull(link.getParent()));
        Files.createSymbolicLink(link, parent.relativize(blob));
      }
    }
  }

  // ---- mistakes ----

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "modelpool.models.mnist=me/other | clip-tiny/alpha | me/other ; do not belong together"
            + " ; image_size is 28 and 32",
        "modelpool.models.mnist=me/none | | me/none ; there is no such",
        "modelpool.models.mnist=me/pickle | clip-tiny/alpha | me/pickle ; pytorch_model.bin ; pickle",
        "modelpool.models.mnist=me/texts | gpt2-tiny/cola | model_type is \"gpt2\"",
        "modelpool.train_datasets.dtd.path=me/data | | me/data ; there is no such",
        "modelpool.train_datasets.dtd.split=dev | | there is no split 'dev' ; train, test, contrast",
        "modelpool.train_datasets.svhn._args_.1=full | | no configuration 'full' ; cropped_digits",
      })
  void aMistakeIsFoundBeforeTheFirstDownload(String override, String model, String fragments)
      throws IOException {
    if (model != null) {
      Path other = folder.resolve("other");
      Files.createDirectories(other);
      try (Stream<Path> files = Files.list(Golden.path(model.strip()))) {
        for (Path file : files.toList()) {
          String name = Objects.requireNonNull(file.getFileName()).toString();
          boolean pickle = override.contains("pickle") && name.endsWith(".safetensors");
          Files.copy(file, other.resolve(pickle ? "pytorch_model.bin" : name));
        }
      }
      hub.repository(
          TestHub.Kind.MODEL, override.strip().substring(override.indexOf('=') + 1), other);
    }
    List<String> words = new ArrayList<>(List.of(CLIP_LARGE.split(" ")));
    words.addAll(List.of(override.strip(), "print_config=false", "path.root_dir=" + folder));
    CommandResult result = CommandResult.run(environment(Map.of()), words);
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    String error =
        result
            .err()
            .lines()
            .filter(line -> line.startsWith("fisher-merge: "))
            .collect(Collectors.joining());
    for (String fragment : fragments.strip().split(" ; ", -1)) {
      assertThat(error).contains(fragment.strip());
    }
    assertThat(hub.requests("GET", ".safetensors")).isEmpty();
    assertThat(hub.requests("GET", ".parquet")).isEmpty();
  }

  // ---- a process that reaches only this machine ----

  private Map<String, String> environment(Map<String, String> more) {
    Map<String, String> environment = new HashMap<>();
    environment.put("HF_ENDPOINT", hub.endpoint());
    environment.put("HF_HOME", folder.resolve("hf").toString());
    environment.putAll(more);
    return environment;
  }

  /** Where a run keeps what it makes. */
  private Path work() {
    return folder.resolve("work");
  }

  private CommandResult offline(String words) {
    List<String> line = new ArrayList<>(List.of(words.split(" ")));
    line.add("path.root_dir=" + work());
    return CommandResult.run(environment(Map.of("HF_HUB_OFFLINE", "1")), line);
  }

  /** Runs words in an empty folder, as a user would. */
  private CommandResult command(String words) throws IOException {
    Path work = Files.createDirectories(work());
    // With this file the JVM asks no name server.
    Path hosts = Files.writeString(folder.resolve("hosts"), "127.0.0.1 localhost\n");
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    List<String> command =
        CommandProcess.java("-Djdk.net.hosts.file=" + hosts, "-Dai.djl.offline=true");
    command.addAll(List.of(words.split(" ")));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(work.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder
        .environment()
        .keySet()
        .removeIf(name ->
            new TreeSet<>(List.of("HF", "HTTP", "http")).stream().anyMatch(name::startsWith));
    builder.environment().putAll(environment(Map.of()));
    Process process = builder.start();
    int code;
    try {
      code = process.waitFor();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      throw new IOException("interrupted", e);
    }
    return new CommandResult(
        code,
        Files.readString(out, StandardCharsets.UTF_8),
        Files.readString(err, StandardCharsets.UTF_8));
  }

  /** FusionBench leaves it in the log folder of the day. */
  private Path reportFile() throws IOException {
    try (Stream<Path> files = Files.walk(work().resolve("outputs"))) {
      List<Path> found = files.filter(file -> file.endsWith("program_report.json")).toList();
      assertThat(found).hasSize(1);
      return found.getFirst();
    }
  }

  private JsonNode report() throws IOException {
    return new JsonMapper().readTree(reportFile().toFile());
  }
}
