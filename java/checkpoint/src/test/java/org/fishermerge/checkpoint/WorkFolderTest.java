package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Leftovers of killed processes, told from the folders of those that run. */
@EnabledOnOs(OS.LINUX)
final class WorkFolderTest {
  private static final String OTHER_SYSTEM = "abc123";

  @TempDir Path folder;

  /** Number, start and system, as a running output names itself. */
  private String[] own() throws IOException {
    try (WorkFolder own = WorkFolder.in(folder)) {
      String[] parts = String.valueOf(own.path().getFileName()).split("-", -1);
      assertThat(parts).hasSize(6);
      assertThat(parts[2]).isEqualTo(Long.toString(ProcessHandle.current().pid()));
      return Arrays.copyOfRange(parts, 2, 5);
    }
  }

  private Path leftover(long pid, String start, String system, Instant modified)
      throws IOException {
    Path left =
        Files.createDirectory(
            folder.resolve(".fisher-merge-" + pid + "-" + start + "-" + system + "-1234567"));
    Files.writeString(left.resolve("model.safetensors"), "half");
    Files.setLastModifiedTime(left, FileTime.from(modified));
    return left;
  }

  /** Field 22 of proc(5)'s stat. */
  private static String start(long pid) throws IOException {
    String stat = Files.readString(Path.of("/proc", Long.toString(pid), "stat"));
    return stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1)[19];
  }

  private boolean survives(Path left) throws IOException {
    WorkFolder.in(folder).close();
    return Files.exists(left);
  }

  @Test
  void removesWhatAnEndedProcessLeft() throws Exception {
    Process ended = new ProcessBuilder("true").start();
    ended.waitFor();
    assertThat(survives(leftover(ended.pid(), "123456", own()[2], Instant.now()))).isFalse();
  }

  @Test
  void keepsTheFolderOfARunningProcessButNotThatOfOneWithItsNumberBefore() throws Exception {
    Process running = new ProcessBuilder("sleep", "60").start();
    try {
      long pid = running.pid();
      assertThat(survives(leftover(pid, start(pid), own()[2], Instant.EPOCH))).isTrue();
      assertThat(survives(leftover(pid, "17", own()[2], Instant.now()))).isFalse();
    } finally {
      running.destroyForcibly();
    }
  }

  @Test
  void keepsItsOwn() throws IOException {
    try (WorkFolder own = WorkFolder.in(folder)) {
      assertThat(survives(own.path())).isTrue();
    }
    long pid = ProcessHandle.current().pid();
    assertThat(start(pid)).isEqualTo(own()[1]);
    assertThat(survives(leftover(pid, "17", own()[2], Instant.now())))
        .as("of an earlier process with the same number")
        .isFalse();
  }

  @Test
  void waitsADayWhereItCannotTell() throws Exception {
    Instant longAgo = Instant.now().minus(2, ChronoUnit.DAYS);
    assertThat(survives(leftover(7, "17", OTHER_SYSTEM, Instant.now()))).isTrue();
    assertThat(survives(leftover(8, "17", OTHER_SYSTEM, longAgo))).isFalse();
    // From a clock ahead of ours, or before ours was set back: it is no older than a day.
    Instant ahead = Instant.now().plus(9, ChronoUnit.DAYS);
    assertThat(survives(leftover(10, "17", OTHER_SYSTEM, ahead))).isTrue();
    Path locked = leftover(9, "17", OTHER_SYSTEM, longAgo);
    Path lock = locked.resolve(".fisher-merge-lock");
    try (FileChannel channel =
            FileChannel.open(lock, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        FileLock held = channel.lock()) {
      Files.setLastModifiedTime(locked, FileTime.from(longAgo));
      assertThat(held.isValid()).isTrue();
      assertThat(survives(locked)).as("locked").isTrue();
    }
    Files.setLastModifiedTime(locked, FileTime.from(longAgo));
    assertThat(survives(locked)).as("locked no more").isFalse();
  }

  @Test
  void leavesOtherFilesAlone() throws IOException {
    Path file = Files.writeString(folder.resolve(".fisher-merge-1-2-3-4"), "a file");
    Path other = Files.createDirectory(folder.resolve(".fisher-merge-notes"));
    Files.setLastModifiedTime(other, FileTime.from(Instant.EPOCH));
    assertThat(survives(file)).isTrue();
    assertThat(survives(other)).isTrue();
  }
}
