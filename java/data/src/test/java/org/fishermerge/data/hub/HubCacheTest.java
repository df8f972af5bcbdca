package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URI;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.TestHub;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A cache that Python has filled, written here by the rules of its {@code file_download.py}. */
final class HubCacheTest {
  private static final String WEIGHTS = HubFixture.WEIGHTS;

  @TempDir Path folder;
  private HubFixture hub;
  private Path repository;
  private Path snapshot;

  @BeforeEach
  void start() throws IOException {
    hub = new HubFixture(folder);
    repository = hub.cache.resolve("models--org--tiny-model");
    String commit = TestHub.commit(hub.model);
    snapshot = repository.resolve("snapshots").resolve(commit);
    HubFixture.write(repository.resolve("refs/main"), commit);
    Files.createDirectories(snapshot);
    for (String name :
        new String[] {"config.json", WEIGHTS, "tokenizer.json", "preprocessor_config.json"}) {
      Path blob = hub.blob(name);
      HubFixture.write(blob, Files.readAllBytes(hub.model.resolve(name)));
      Files.createSymbolicLink(
          snapshot.resolve(name), Path.of("../../blobs").resolve(blob.getFileName()));
    }
  }

  @AfterEach
  void stop() {
    hub.close();
  }

  private void offline() {
    hub.environment.put("HF_HUB_OFFLINE", "1");
  }

  @Test
  void whatPythonDownloadedIsFound() {
    assertThat(hub.download()).isEqualTo(snapshot);
    assertThat(hub.server.requests()).hasSize(1);
    assertThat(hub.notes).isEmpty();
    offline();
    assertThat(hub.download()).isEqualTo(snapshot);
  }

  @Test
  void offlineWithoutEverHavingSeenTheHub() throws IOException {
    offline();
    assertThat(hub.download()).isEqualTo(snapshot);
    Files.delete(snapshot.resolve(WEIGHTS));
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("not in the cache: model.safetensors (looked in " + snapshot + ")");
    assertThat(hub.server.requests()).isEmpty();
  }

  @Test
  void pythonsListOfTheFilesSaysWhatIsMissing() throws IOException {
    HubFixture.write(
        repository.resolve("trees").resolve(snapshot.getFileName() + ".json"),
        """
        {"format_version": 1, "files": {
          "config.json": {"size": 23, "blob_id": "%s"},
          "vocab.json": {"size": 9, "blob_id": "0000000000000000000000000000000000000000"},
          "model.safetensors": {"size": %d, "blob_id": "1111111111111111111111111111111111111111",
            "lfs_sha256": "%s", "lfs_size": %d, "xet_hash": "2222"}}}
        """
            .formatted(
                TestHub.tag(hub.model.resolve("config.json")),
                HubFixture.WEIGHT_BYTES,
                TestHub.tag(hub.model.resolve(WEIGHTS)),
                HubFixture.WEIGHT_BYTES));
    offline();
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("not in the cache: vocab.json (");
  }

  @Test
  void whatPythonDownloadedIsVerified() throws IOException {
    // huggingface_hub compares sizes only.
    byte[] bytes = Files.readAllBytes(hub.blob(WEIGHTS));
    bytes[7] ^= 1;
    Files.write(hub.blob(WEIGHTS), bytes);
    assertThat(hub.download().resolve(WEIGHTS)).hasSameBinaryContentAs(hub.model.resolve(WEIGHTS));
    assertThat(hub.notes).singleElement().asString().contains(hub.blob(WEIGHTS) + ": is damaged");
  }

  @Test
  void aCacheWithoutLinksHoldsTheFilesThemselves() throws IOException {
    // As huggingface_hub keeps it on Windows.
    Files.move(hub.blob(WEIGHTS), snapshot.resolve("moved"));
    Files.delete(snapshot.resolve(WEIGHTS));
    Files.move(snapshot.resolve("moved"), snapshot.resolve(WEIGHTS));
    assertThat(hub.download()).isEqualTo(snapshot);
    assertThat(hub.server.requests()).hasSize(1);
    byte[] bytes = Files.readAllBytes(snapshot.resolve(WEIGHTS));
    bytes[7] ^= 1;
    Files.write(snapshot.resolve(WEIGHTS), bytes);
    hub.download();
    assertThat(hub.notes).singleElement().asString().contains("is damaged");
    assertThat(snapshot.resolve(WEIGHTS)).hasSameBinaryContentAs(hub.model.resolve(WEIGHTS));
  }

  @Test
  void aCacheThatCannotBeWrittenIsReadAllTheSame() throws IOException {
    // A file where our own folder would be.
    HubFixture.write(repository.resolve(".fisher-merge"), "");
    assertThat(hub.download()).isEqualTo(snapshot);
    Files.delete(snapshot.resolve(WEIGHTS));
    Files.delete(hub.blob(WEIGHTS));
    assertThatThrownBy(hub::download)
        .isInstanceOf(InputException.class)
        .hasMessageContaining("cannot be written")
        .hasMessageContaining("HF_HUB_CACHE");
  }

  @Test
  void copiesWhereThereAreNoLinks() throws IOException {
    // Zip file systems have neither symbolic nor hard links.
    URI zip = URI.create("jar:" + folder.resolve("cache.zip").toUri());
    try (FileSystem links = FileSystems.newFileSystem(zip, Map.of("create", "true"))) {
      HubCache cache = new HubCache(links.getPath("/cache"));
      Repository model = HubFixture.repository();
      Path blob = cache.blob(model, "tag");
      Files.createDirectories(blob.getParent());
      Files.writeString(blob, "content");
      cache.link(model, "commit", "sub/file.txt", blob);
      Path file = cache.file(model, "commit", "sub/file.txt");
      assertThat(Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)).isTrue();
      assertThat(Files.readString(file)).isEqualTo("content");
    }
  }

  @Test
  void nothingIsLeftInTheFolderForTemporaries() throws IOException {
    hub.download();
    try (Stream<Path> paths = Files.walk(hub.cache)) {
      assertThat(paths.filter(path -> path.toString().contains("/temp/"))).isEmpty();
    }
  }
}
