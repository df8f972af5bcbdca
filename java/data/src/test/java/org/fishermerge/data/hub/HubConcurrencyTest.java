package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.fishermerge.testkit.TestHub;
import org.fishermerge.testkit.TestHub.Fault;
import org.fishermerge.testkit.TestHub.Request;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Several clients at one cache, and clients that are killed. */
@Timeout(120)
final class HubConcurrencyTest {
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

  private List<Request> weightDownloads() {
    return hub.server.requests("GET", WEIGHTS).stream().filter(Request::storage).toList();
  }

  private List<Path> leftovers() throws IOException {
    Path blobs = hub.blob(WEIGHTS).getParent();
    if (blobs == null || !Files.isDirectory(blobs)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(blobs)) {
      return files.filter(file -> file.toString().endsWith(".incomplete")).toList();
    }
  }

  private void assertWeights(Path snapshot) {
    assertThat(snapshot.resolve(WEIGHTS)).hasSameBinaryContentAs(hub.model.resolve(WEIGHTS));
  }

  @Test
  void threadsDownloadAFileOnce() throws Exception {
    List<Future<Path>> snapshots = new ArrayList<>();
    try (ExecutorService threads = Executors.newFixedThreadPool(6)) {
      for (int i = 0; i < 6; i++) {
        snapshots.add(threads.submit(hub::download));
      }
    }
    for (Future<Path> snapshot : snapshots) {
      assertWeights(snapshot.get());
    }
    assertThat(weightDownloads()).hasSize(1);
    assertThat(leftovers()).isEmpty();
  }

  @Test
  void processesDownloadAFileOnce() throws Exception {
    // The first to come is held up half-way, so that the other does find it at work.
    hub.server.fail(Fault.SLOW, WEIGHTS, 1);
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      processes.add(HubProcess.start(hub, folder.resolve("output" + i)));
    }
    try {
      while (hub.server.requests("HEAD", WEIGHTS).size() < 2) {
        assertThat(processes).allMatch(Process::isAlive);
        TimeUnit.MILLISECONDS.sleep(10);
      }
      hub.server.proceed();
      for (int i = 0; i < 2; i++) {
        assertThat(processes.get(i).waitFor())
            .as(Files.readString(folder.resolve("output" + i)))
            .isZero();
        assertWeights(Path.of(Files.readString(folder.resolve("output" + i)).strip()));
      }
    } finally {
      processes.forEach(Process::destroyForcibly);
    }
    assertThat(weightDownloads()).hasSize(1);
    assertThat(leftovers()).isEmpty();
  }

  @Test
  void aDownloadThatWasKilledIsTakenUpAgain() throws Exception {
    hub.server.fail(Fault.STALL, WEIGHTS, 1);
    Process process = HubProcess.start(hub, folder.resolve("output"));
    try {
      while (leftovers().isEmpty() || Files.size(leftovers().getFirst()) < 100_000) {
        assertThat(process.isAlive()).as(Files.readString(folder.resolve("output"))).isTrue();
        TimeUnit.MILLISECONDS.sleep(10);
      }
    } finally {
      process.destroyForcibly().waitFor();
    }
    long there = Files.size(leftovers().getFirst());
    assertThat(hub.blob(WEIGHTS)).doesNotExist();
    assertWeights(hub.download());
    assertThat(weightDownloads())
        .extracting(request -> request.headers().get("range"))
        .containsExactly(null, "bytes=" + there + "-");
    assertThat(leftovers()).isEmpty();
  }

  @Test
  void aLeftoverWithTheWrongBytesIsThrownAway() throws IOException {
    HubFixture.write(leftover("1"), HubFixture.random(5000));
    assertWeights(hub.download());
    assertThat(hub.notes).singleElement().asString().contains("downloading it again");
    assertThat(leftovers()).isEmpty();
  }

  @Test
  void ofSeveralLeftoversTheLongestUsableCounts() throws IOException {
    byte[] weights = Files.readAllBytes(hub.model.resolve(WEIGHTS));
    HubFixture.write(leftover("1"), java.util.Arrays.copyOf(weights, 1000));
    HubFixture.write(leftover("2"), java.util.Arrays.copyOf(weights, 2000));
    HubFixture.write(leftover("3"), new byte[HubFixture.WEIGHT_BYTES + 1]);
    assertWeights(hub.download());
    assertThat(weightDownloads())
        .extracting(request -> request.headers().get("range"))
        .containsExactly("bytes=2000-");
    assertThat(leftovers()).isEmpty();
  }

  @Test
  void aLeftoverThatIsCompleteIsNotDownloadedAgain() throws IOException {
    HubFixture.write(leftover("1"), HubFixture.random(HubFixture.WEIGHT_BYTES));
    assertWeights(hub.download());
    assertThat(weightDownloads()).isEmpty();
  }

  @Test
  void whatPythonLeavesUnfinishedIsNotTouched() throws IOException {
    // It may be at work on it: its locks are of another kind.
    Path blob = hub.blob(WEIGHTS);
    Path python = blob.resolveSibling(blob.getFileName() + ".0a1b2c3d.incomplete");
    HubFixture.write(python, HubFixture.random(1000));
    assertWeights(hub.download());
    assertThat(python).hasSize(1000);
  }

  private Path leftover(String unique) {
    Path blob = hub.blob(WEIGHTS);
    return blob.resolveSibling(
        TestHub.tag(hub.model.resolve(WEIGHTS)) + ".fisher-merge-" + unique + ".incomplete");
  }
}
