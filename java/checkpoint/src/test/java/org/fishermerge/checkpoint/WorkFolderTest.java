package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Leftovers of killed processes, told from the folders of those that run. */
@EnabledOnOs(OS.LINUX)
final class WorkFolderTest {
  private static final String OWNER = ".fisher-merge-owner";
  private static final String OTHER_SYSTEM = "0f-another-boot pid:[1]";

  @TempDir Path folder;

  private Path leftover(long pid, String owner, Instant modified) throws IOException {
    Path left = Files.createDirectory(folder.resolve(".fisher-merge-" + pid + "-1234567"));
    Files.writeString(left.resolve("model.safetensors"), "half");
    if (!owner.isEmpty()) {
      Files.writeString(left.resolve(OWNER), owner);
    }
    Files.setLastModifiedTime(left, FileTime.from(modified));
    return left;
  }

  private static String owner(String system, long pid, String start) {
    return system + "\n" + pid + "\n" + start + "\n";
  }

  /** As a running output describes itself. */
  private String system() throws IOException {
    try (WorkFolder own = WorkFolder.in(folder)) {
      String text = Files.readString(own.path().resolve(OWNER));
      assertThat(text.lines()).hasSize(3);
      assertThat(text).contains("\n" + ProcessHandle.current().pid() + "\n");
      return text.lines().findFirst().orElseThrow();
    }
  }

  private boolean survives(Path left) throws IOException {
    WorkFolder.in(folder).close();
    return Files.exists(left);
  }

  @Test
  void removesWhatAnEndedProcessLeft() throws Exception {
    Process ended = new ProcessBuilder("true").start();
    String start = Objects.toString(ended.info().startInstant().orElse(null));
    ended.waitFor();
    assertThat(survives(leftover(ended.pid(), owner(system(), ended.pid(), start), Instant.now())))
        .isFalse();
  }

  @Test
  void keepsTheFolderOfARunningProcessButNotThatOfOneWithItsNumberBefore() throws Exception {
    Process running = new ProcessBuilder("sleep", "60").start();
    try {
      String start = running.info().startInstant().orElseThrow().toString();
      long pid = running.pid();
      Path left = leftover(pid, owner(system(), pid, start), Instant.EPOCH);
      assertThat(survives(left)).isTrue();
      Files.writeString(left.resolve(OWNER), owner(system(), pid, "2001-01-01T00:00:00Z"));
      assertThat(survives(left)).isFalse();
    } finally {
      running.destroyForcibly();
    }
  }

  @Test
  void keepsItsOwn() throws IOException {
    try (WorkFolder own = WorkFolder.in(folder)) {
      assertThat(survives(own.path())).isTrue();
      assertThat(survives(own.path())).as("the lock is still held").isTrue();
    }
    long pid = ProcessHandle.current().pid();
    assertThat(survives(leftover(pid, owner(system(), pid, "2001-01-01T00:00:00Z"), Instant.now())))
        .as("of an earlier process with the same number")
        .isFalse();
  }

  @Test
  void waitsADayWhereItCannotTell() throws IOException {
    Instant longAgo = Instant.now().minus(2, ChronoUnit.DAYS);
    String elsewhere = owner(OTHER_SYSTEM, 999_999_999, "2001-01-01T00:00:00Z");
    assertThat(survives(leftover(999_999_999, elsewhere, Instant.now()))).isTrue();
    assertThat(survives(leftover(999_999_998, "", Instant.now()))).isTrue();
    assertThat(survives(leftover(999_999_997, elsewhere, longAgo))).isFalse();
    assertThat(survives(leftover(999_999_996, "", longAgo))).isFalse();
  }

  @Test
  void leavesOtherFilesAlone() throws IOException {
    Path file = Files.writeString(folder.resolve(".fisher-merge-1-2"), "a file");
    Path other = Files.createDirectory(folder.resolve(".fisher-merge-notes"));
    Files.setLastModifiedTime(other, FileTime.from(Instant.EPOCH));
    assertThat(survives(file)).isTrue();
    assertThat(survives(other)).isTrue();
  }
}
