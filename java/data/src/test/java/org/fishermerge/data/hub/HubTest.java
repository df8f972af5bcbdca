package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.TestHub;
import org.fishermerge.testkit.TestHub.Fault;
import org.fishermerge.testkit.TestHub.Request;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The whole client against a hub on the loopback interface. */
final class HubTest {
  private static final String WEIGHTS = HubFixture.WEIGHTS;

  @TempDir Path folder;
  private HubFixture hub;

  @BeforeEach
  void start() {
    hub = new HubFixture(folder);
  }

  @AfterEach
  void stop() {
    hub.close();
  }

  private void assertComplete(Path snapshot) throws IOException {
    for (String name :
        List.of("config.json", WEIGHTS, "tokenizer.json", "preprocessor_config.json")) {
      assertThat(snapshot.resolve(name)).hasSameBinaryContentAs(hub.model.resolve(name));
    }
    try (Stream<Path> blobs = Files.list(hub.blob(WEIGHTS).getParent())) {
      assertThat(blobs).noneMatch(blob -> blob.toString().endsWith(".incomplete"));
    }
  }

  // What is downloaded.

  @Test
  void onlyTheFilesOfAModelAreDownloaded() throws IOException {
    Path snapshot = hub.download();
    assertComplete(snapshot);
    try (Stream<Path> files = Files.walk(snapshot)) {
      assertThat(files.filter(Files::isRegularFile).map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder(
              "config.json", WEIGHTS, "tokenizer.json", "preprocessor_config.json");
    }
    assertThat(hub.server.requests().stream().map(Request::path))
        .noneMatch(path -> path.matches(".*(README|pytorch|tf_model|onnx).*"));
  }

  @Test
  void theCacheHasTheLayoutOfTheOtherClients() throws IOException {
    Path snapshot = hub.download();
    String commit = TestHub.commit(hub.model);
    Path repository = hub.cache.resolve("models--org--tiny-model");
    assertThat(snapshot).isEqualTo(repository.resolve("snapshots").resolve(commit));
    assertThat(repository.resolve("refs/main")).hasContent(commit);
    for (String name : List.of("config.json", WEIGHTS)) {
      assertThat(Files.readSymbolicLink(snapshot.resolve(name)))
          .isEqualTo(Path.of("../../blobs", TestHub.tag(hub.model.resolve(name))));
    }
  }

  @Test
  void shardsAreThoseThatTheIndexNames() throws IOException {
    Files.move(hub.model.resolve(WEIGHTS), hub.model.resolve("model-00001-of-00002.safetensors"));
    HubFixture.write(hub.model.resolve("model-00002-of-00002.safetensors"), HubFixture.random(77));
    HubFixture.write(hub.model.resolve("model.fp16-00001-of-00002.safetensors"), "other");
    HubFixture.write(
        hub.model.resolve("model.safetensors.index.json"),
        """
        {"weight_map": {"a": "model-00001-of-00002.safetensors",
                        "b": "model-00002-of-00002.safetensors",
                        "c": "model-00001-of-00002.safetensors"}}\
        """);
    Path snapshot = hub.download();
    try (Stream<Path> files = Files.list(snapshot)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .contains("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
          .noneMatch(name -> name.contains("fp16"));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "model-00009-of-00009.safetensors, holds no model-00009-of-00009.safetensors",
    "../../../evil.safetensors, holds no ../../../evil.safetensors",
    "pytorch_model.bin, a pickle"
  })
  void anIndexThatNamesSomethingElseIsRefused(String shard, String message) throws IOException {
    Files.delete(hub.model.resolve(WEIGHTS));
    HubFixture.write(
        hub.model.resolve("model.safetensors.index.json"),
        "{\"weight_map\": {\"a\": \"" + shard + "\"}}");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message);
    assertThat(hub.server.requests("GET", ".bin")).isEmpty();
  }

  @Test
  void pickledWeightsAreNamedAndNotDownloaded() throws IOException {
    Files.delete(hub.model.resolve(WEIGHTS));
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("model org/tiny-model (revision main) holds no model.safetensors")
        .hasMessageContaining("pytorch_model.bin")
        .hasMessageContaining("https://huggingface.co/spaces/safetensors/convert");
    assertThat(hub.server.requests("GET", ".bin")).isEmpty();
  }

  @Test
  void whatIsNoModelIsNamed() throws IOException {
    Files.delete(hub.model.resolve("config.json"));
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no config.json");
  }

  @Test
  void filesInFoldersWithOddNames() throws IOException {
    String name = "a folder/100%+é#?.txt";
    HubFixture.write(hub.model.resolve(name), "odd");
    try (Hub client = hub.client()) {
      Snapshot snapshot = client.fetch(HubFixture.repository(), WantedFiles.only(name));
      assertThat(snapshot.files()).containsExactly(snapshot.folder().resolve(name));
      assertThat(snapshot.files().getFirst()).hasContent("odd");
      assertThatThrownBy(() -> client.fetch(HubFixture.repository(), WantedFiles.only("none.txt")))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("holds no none.txt");
    }
  }

  @Test
  void anEmptyFile() {
    HubFixture.write(hub.model.resolve("empty.txt"), "");
    HubFixture.write(hub.model.resolve("empty.safetensors"), "");
    try (Hub client = hub.client()) {
      assertThat(
              client
                  .fetch(
                      HubFixture.repository(), WantedFiles.only("empty.txt", "empty.safetensors"))
                  .files())
          .allSatisfy(file -> assertThat(file).isEmptyFile());
    }
  }

  @Test
  void branchesTagsPullRequestsAndCommits() throws IOException {
    Path other = folder.resolve("other");
    HubFixture.write(other.resolve("config.json"), "{\"model_type\": \"other\"}");
    hub.server.repository(TestHub.Kind.MODEL, HubFixture.ID, "refs/pr/1", other);
    WantedFiles config = WantedFiles.only("config.json");
    try (Hub client = hub.client()) {
      String commit = TestHub.commit(other);
      Path byReference = client.snapshot(HubFixture.repository().at("refs/pr/1"), config);
      assertThat(byReference.resolve("config.json")).hasContent("{\"model_type\": \"other\"}");
      assertThat(hub.cache.resolve("models--org--tiny-model/refs/refs/pr/1")).hasContent(commit);
      assertThat(client.snapshot(Repository.model(HubFixture.ID + "@" + commit), config))
          .isEqualTo(byReference);
      assertThatThrownBy(() -> client.snapshot(HubFixture.repository().at("v9"), config))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("(revision v9): there is no such revision");
    }
  }

  // What is downloaded once only.

  @Test
  void theSecondTimeOnlyTheCommitIsAskedFor() throws IOException {
    hub.download();
    hub.server.forget();
    assertComplete(hub.download());
    assertThat(hub.server.requests()).hasSize(1);
    assertThat(hub.server.requests("GET", "/api/models/org/tiny-model/revision/main")).hasSize(1);
  }

  @Test
  void aCommitThatIsThereIsNotAskedForAtAll() throws IOException {
    hub.download();
    hub.server.forget();
    try (Hub client = hub.client()) {
      assertComplete(
          client.snapshot(
              HubFixture.repository().at(TestHub.commit(hub.model)), WantedFiles.model()));
    }
    assertThat(hub.server.requests()).isEmpty();
  }

  @Test
  void aNewCommitTakesOverWhatHasNotChanged() throws IOException {
    hub.download();
    HubFixture.write(hub.model.resolve("config.json"), "{\"model_type\": \"changed\"}");
    hub.server.forget();
    assertComplete(hub.download());
    assertThat(hub.server.requests("GET", "config.json")).hasSize(1);
    assertThat(hub.server.requests("GET", WEIGHTS)).isEmpty();
  }

  // What goes wrong on the way.

  @ParameterizedTest
  @EnumSource(
      value = Fault.class,
      names = {
        "IGNORE_RANGE",
        "SHORT_BODY",
        "SHORT_WITHOUT_LENGTH",
        "STUCK",
        "WRONG_BYTES",
        "TOO_LONG",
        "STALL",
        "NO_LENGTH",
        "GZIP",
        "TOO_MANY_REQUESTS",
        "UNAVAILABLE"
      })
  void oneFaultDoesNotMatter(Fault fault) throws IOException {
    hub.server.fail(fault, WEIGHTS, 1);
    assertComplete(hub.download());
  }

  @ParameterizedTest
  @EnumSource(
      value = Fault.class,
      names = {"OTHER_TAG", "NO_LENGTH", "GZIP", "WRONG_BYTES", "SHORT_BODY"})
  void norDoesOneOfAFileThatTheHubItselfSends(Fault fault) throws IOException {
    hub.server.fail(fault, "config.json", 1);
    assertComplete(hub.download());
  }

  @Test
  void theRestIsAskedForWhereTheConnectionBroke() throws IOException {
    hub.server.fail(Fault.SHORT_BODY, WEIGHTS, 2);
    assertComplete(hub.download());
    assertThat(ranges()).containsExactly("", "bytes=150000-", "bytes=225000-");
  }

  private List<String> ranges() {
    return hub.server.requests("GET", WEIGHTS).stream()
        .filter(Request::storage)
        .map(request -> request.headers().getOrDefault("range", ""))
        .toList();
  }

  @Test
  void aServerThatSendsAllInsteadOfTheRestIsBelieved() throws IOException {
    hub.server.fail(Fault.SHORT_BODY, WEIGHTS, 1);
    hub.server.fail(Fault.IGNORE_RANGE, WEIGHTS, 1);
    assertComplete(hub.download());
    assertThat(ranges()).containsExactly("", "bytes=150000-");
  }

  @Test
  void failuresAreNotCountedWhileThereIsProgress() throws IOException {
    // Four in a row would be too many.
    hub.server.fail(Fault.SHORT_BODY, WEIGHTS, 10);
    assertComplete(hub.download());
    assertThat(ranges()).hasSize(11);
  }

  @Test
  void aServerThatNeverGetsFurtherIsGivenUp() {
    hub.server.fail(Fault.STUCK, WEIGHTS, 1000);
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("(tried 4 times)")
        .hasMessageContaining("HF_HUB_OFFLINE=1");
  }

  @ParameterizedTest
  @CsvSource({
    "WRONG_BYTES, 'the 300,001 bytes that arrived have the SHA-256'",
    "TOO_LONG, 'more than the 300,001 bytes it announced'"
  })
  void theWrongContentTwiceIsRefused(Fault fault, String message) throws IOException {
    hub.server.fail(fault, WEIGHTS, 2);
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(WEIGHTS)
        .hasMessageContaining(message)
        .hasMessageContaining("at a second attempt");
    assertThat(hub.blob(WEIGHTS)).doesNotExist();
    assertThat(hub.cache.resolve("models--org--tiny-model/refs/main")).doesNotExist();
    // Nothing of it is left for the next one to go on with.
    assertComplete(hub.download());
  }

  @Test
  void waitsAsLongAsTheHubAsksFor() throws IOException {
    hub.server.fail(Fault.TOO_MANY_REQUESTS, "/revision/main", 1);
    assertComplete(hub.download());
    assertThat(hub.waits).containsExactly(Duration.ofSeconds(7));
    assertThat(hub.notes).singleElement().asString().contains("limits our requests (429)");
  }

  @Test
  void waitsLongerAfterEachFailure() {
    hub.server.fail(Fault.UNAVAILABLE, "/revision/main", 4);
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("answers with error 503 (tried 4 times); try again later");
    assertThat(hub.waits)
        .containsExactly(Duration.ofMillis(100), Duration.ofMillis(200), Duration.ofMillis(400));
  }

  @ParameterizedTest
  @CsvSource({
    "UNAUTHORIZED, /revision/main, 'there is no such repository, or it is private; check the id at'",
    "GATED, /revision/main, its owner asks for consent to terms: give it at",
    "GATED, model.safetensors, model.safetensors of model org/tiny-model (revision main): its owner asks",
    "NOT_FOUND, /revision/main, there is no such repository or revision",
    "NOT_FOUND, model.safetensors, there is no such file",
    "STRANGE, model.safetensors, answers with status 418"
  })
  void refusalsAreExplained(Fault fault, String path, String message) {
    hub.server.fail(fault, path, 1);
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(HubFixture.ID)
        .hasMessageContaining(message);
    assertThat(hub.waits).isEmpty();
  }

  @Test
  void anIdThatIsNotThere() {
    try (Hub client = hub.client()) {
      assertThatThrownBy(() -> client.snapshot(Repository.model("org/none"), WantedFiles.model()))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("there is no such repository, or it is private");
    }
  }

  @Test
  void aFullDiskIsNoticedBefore() {
    try (Hub client = hub.client(200_000)) {
      assertThatThrownBy(() -> client.snapshot(HubFixture.repository(), WantedFiles.model()))
          .isInstanceOf(InputException.class)
          .hasMessageContaining(hub.cache.toString())
          .hasMessageContaining("200,000 bytes free")
          .hasMessageContaining("HF_HUB_CACHE");
    }
    assertThat(hub.server.requests("GET", WEIGHTS)).isEmpty();
  }

  @Test
  void progressIsToldInOrder() {
    TreeMap<String, List<Long>> heard = new TreeMap<>();
    hub.server.fail(Fault.SHORT_BODY, WEIGHTS, 1);
    HubProgress progress =
        (file, bytes, total) -> {
          heard.computeIfAbsent(file, any -> new ArrayList<>()).add(bytes);
          assertThat(total).isEqualTo(hub.model.resolve(file).toFile().length());
        };
    try (Hub client = new Hub(hub.settings(), progress)) {
      client.snapshot(HubFixture.repository(), WantedFiles.model());
    }
    assertThat(heard)
        .containsOnlyKeys("config.json", WEIGHTS, "tokenizer.json", "preprocessor_config.json");
    assertThat(heard.get(WEIGHTS)).isSorted().last().isEqualTo((long) HubFixture.WEIGHT_BYTES);
  }

  // Who gets the token.

  @Test
  void theTokenGoesToTheHubAndNotToTheStorage() throws IOException {
    hub.environment.put("HF_TOKEN", "hf_secret");
    hub.server.requireToken(HubFixture.ID, "hf_secret");
    assertComplete(hub.download());
    for (Request request : hub.server.requests()) {
      if (request.storage()) {
        assertThat(request.headers()).doesNotContainKey("authorization");
      } else {
        assertThat(request.headers()).containsEntry("authorization", "Bearer hf_secret");
      }
    }
    assertThat(hub.server.requests().stream().filter(Request::storage)).isNotEmpty();
  }

  @Test
  void theTokenIsKeptWhereARepositoryWasRenamed() throws IOException {
    hub.environment.put("HF_TOKEN", "hf_secret");
    hub.server.requireToken(HubFixture.ID, "hf_secret");
    hub.server.rename("org/old-name", HubFixture.ID);
    try (Hub client = hub.client()) {
      Path snapshot = client.snapshot(Repository.model("org/old-name"), WantedFiles.model());
      assertThat(snapshot.resolve(WEIGHTS)).hasSameBinaryContentAs(hub.model.resolve(WEIGHTS));
    }
  }

  @ParameterizedTest
  @CsvSource({"hf_wrong, the token (HF_TOKEN) is not valid for it", "'', 'or set HF_TOKEN'"})
  void aMissingOrWrongTokenIsNamed(String token, String message) {
    hub.environment.put("HF_TOKEN", token);
    hub.server.requireToken(HubFixture.ID, "hf_secret");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("hf_wrong");
  }

  // Without the hub.

  @Test
  void offlineTheCacheDoes() throws IOException {
    hub.download();
    hub.server.forget();
    hub.environment.put("HF_HUB_OFFLINE", "1");
    assertComplete(hub.download());
    assertThat(hub.server.requests()).isEmpty();
  }

  @Test
  void offlineWhatIsMissingIsNamed() throws IOException {
    hub.environment.put("HF_HUB_OFFLINE", "1");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("model org/tiny-model (revision main) is not in the cache")
        .hasMessageContaining(hub.cache.resolve("models--org--tiny-model").toString())
        .hasMessageContaining("HF_HUB_OFFLINE is set");
    hub.environment.remove("HF_HUB_OFFLINE");
    try (Hub client = hub.client()) {
      client.snapshot(HubFixture.repository(), WantedFiles.only("config.json"));
    }
    hub.server.forget();
    hub.environment.put("HF_HUB_OFFLINE", "ON");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(
            "not in the cache: model.safetensors, preprocessor_config.json, tokenizer.json")
        .hasMessageContaining("snapshots");
    assertThat(hub.server.requests()).isEmpty();
  }

  @Test
  void theCacheDoesWhereTheHubIsOutOfReach() throws IOException {
    hub.download();
    hub.server.close();
    assertComplete(hub.download());
    assertThat(hub.notes)
        .singleElement()
        .asString()
        .contains("using commit " + TestHub.commit(hub.model) + " from the cache")
        .contains("cannot connect to " + hub.server.endpoint());
    assertThat(hub.waits).isEmpty();
  }

  @Test
  void aHubThatFailsOnceIsAskedAgainWhereTheCacheDoesNotDo() throws IOException {
    try (Hub client = hub.client()) {
      client.snapshot(HubFixture.repository(), WantedFiles.only("config.json"));
    }
    hub.server.fail(Fault.UNAVAILABLE, "/revision/main", 2);
    assertComplete(hub.download());
  }

  @Test
  @Timeout(60)
  void theFirstFailureStopsTheOtherDownloads() {
    hub.server.fail(Fault.STALL, WEIGHTS, 1);
    hub.server.fail(Fault.WRONG_BYTES, "tokenizer.json", 2);
    HubSettings patient =
        HubSettings.from(hub.environment)
            .withPatience(Duration.ofMinutes(10), 0, Duration.ofMillis(1));
    try (Hub client = new Hub(patient, HubProgress.NONE)) {
      assertThatThrownBy(() -> client.snapshot(HubFixture.repository(), WantedFiles.model()))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("tokenizer.json")
          .hasMessageContaining("at a second attempt");
    }
  }

  @Test
  void aHubOutOfReachIsNamed() {
    hub.server.close();
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("cannot connect to " + hub.server.endpoint())
        .hasMessageContaining("check the network");
  }

  @Test
  void aHostThatDoesNotExistIsNamedAtOnce() {
    hub.environment.put("HF_ENDPOINT", "http://no-such-host.invalid");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("there is no host no-such-host.invalid");
    assertThat(hub.waits).isEmpty();
  }

  // What the cache holds is checked.

  private void damage(Path blob) throws IOException {
    byte[] bytes = Files.readAllBytes(blob);
    bytes[bytes.length / 3] ^= 4;
    Files.write(blob, bytes);
  }

  @ParameterizedTest
  @CsvSource({"model.safetensors, SHA-256", "config.json, Git blob id"})
  void aDamagedBlobIsNamedAndDownloadedAgain(String name, String hash) throws IOException {
    hub.download();
    damage(hub.blob(name));
    Files.setLastModifiedTime(hub.blob(name), FileTime.fromMillis(1));
    assertComplete(hub.download());
    assertThat(hub.notes)
        .singleElement()
        .asString()
        .contains(hub.blob(name) + ": is damaged: its " + hash + " is ");
  }

  @Test
  void aBlobOfTheWrongSizeToo() throws IOException {
    hub.download();
    Files.write(hub.blob(WEIGHTS), new byte[10]);
    assertComplete(hub.download());
    assertThat(hub.notes)
        .singleElement()
        .asString()
        .contains("it has 10 bytes, where 300,001 are expected");
  }

  @Test
  void offlineADamagedBlobIsRefused() throws IOException {
    hub.download();
    damage(hub.blob(WEIGHTS));
    Files.setLastModifiedTime(hub.blob(WEIGHTS), FileTime.fromMillis(1));
    hub.environment.put("HF_HUB_OFFLINE", "1");
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(hub.blob(WEIGHTS) + ": is damaged: its SHA-256 is ")
        .hasMessageContaining("HF_HUB_OFFLINE is set");
  }

  @Test
  void contentIsVerifiedOnce() throws IOException {
    hub.download();
    FileTime time = Files.getLastModifiedTime(hub.blob(WEIGHTS));
    damage(hub.blob(WEIGHTS));
    Files.setLastModifiedTime(hub.blob(WEIGHTS), time);
    hub.download();
    assertThat(hub.notes).isEmpty();
    assertThat(hub.blob(WEIGHTS)).binaryContent().isNotEqualTo(HubFixture.random(300_001));
  }

  @Test
  void aDamagedBlobOfAnotherCommitIsNotTakenOver() throws IOException {
    hub.download();
    HubFixture.write(hub.model.resolve("config.json"), "{\"model_type\": \"changed\"}");
    damage(hub.blob(WEIGHTS));
    Files.setLastModifiedTime(hub.blob(WEIGHTS), FileTime.fromMillis(1));
    assertComplete(hub.download());
    assertThat(hub.notes).singleElement().asString().contains("is damaged");
  }

  @Test
  void aLinkOutOfTheRepositoryIsRefused() throws IOException {
    Path snapshot = hub.download();
    Path secret = folder.resolve("secret");
    Files.writeString(secret, "secret");
    Files.delete(snapshot.resolve("config.json"));
    Files.createSymbolicLink(snapshot.resolve("config.json"), secret);
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("leads out of its repository");
  }

  @Test
  void aFolderThatLeadsOutOfTheSnapshotIsNotWrittenTo() throws IOException {
    HubFixture.write(hub.model.resolve("sub/file.txt"), "inside");
    Path outside = Files.createDirectory(folder.resolve("outside"));
    Path snapshot = hub.download();
    Files.createSymbolicLink(snapshot.resolve("sub"), outside);
    try (Hub client = hub.client()) {
      assertThatThrownBy(
              () -> client.snapshot(HubFixture.repository(), WantedFiles.only("sub/file.txt")))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("leads out of its repository");
    }
    assertThat(outside).isEmptyDirectory();
  }

  @Test
  void aBrokenLinkIsMended() throws IOException {
    hub.download();
    Files.delete(hub.blob(WEIGHTS));
    assertComplete(hub.download());
    assertThat(hub.blob(WEIGHTS)).isRegularFile();
  }

  // Networks.

  @Test
  void aProxyIsAskedForAllThatItIsMeantFor() throws IOException {
    hub.environment.put("HF_ENDPOINT", "http://hub.invalid");
    hub.environment.put("http_proxy", hub.server.endpoint());
    hub.environment.put("NO_PROXY", "example.org, localhost");
    assertComplete(hub.download());
    // The hub through the proxy, its storage at localhost not.
    assertThat(hub.server.requests().stream().filter(request -> !request.storage()))
        .isNotEmpty()
        .allMatch(request -> request.path().startsWith("http://hub.invalid/"));
    assertThat(hub.server.requests().stream().filter(Request::storage))
        .isNotEmpty()
        .allMatch(request -> request.path().startsWith("/"));
  }

  @Test
  void aHubThatCannotBeReachedIsAskedOnce() throws IOException {
    Path other = folder.resolve("other");
    HubFixture.write(other.resolve("config.json"), "{}");
    hub.server.repository(TestHub.Kind.MODEL, "org/other", other);
    WantedFiles config = WantedFiles.only("config.json");
    hub.download();
    try (Hub client = hub.client()) {
      client.fetch(Repository.model("org/other"), config);
    }
    hub.server.forget();
    hub.server.fail(Fault.UNAVAILABLE, "/revision/main", 1);
    try (Hub client = hub.client()) {
      client.fetch(HubFixture.repository(), config);
      client.fetch(Repository.model("org/other"), config);
    }
    assertThat(hub.server.requests()).hasSize(1);
    assertThat(hub.notes).filteredOn(note -> note.contains("from the cache")).hasSize(2);
  }
}
