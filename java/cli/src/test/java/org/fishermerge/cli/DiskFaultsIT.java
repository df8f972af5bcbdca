package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Commands whose output lies on a small or a read-only disk: a file system of their own. */
final class DiskFaultsIT {
  /** Of the tiny CLIP tower's Fisher, some 200 KB. */
  private static final long FISHER_BYTES;

  static {
    FISHER_BYTES =
        TestTensors.read(Golden.path("clip-tiny/alpha/model.safetensors"))
            .tensors()
            .values()
            .stream()
            .mapToLong(tensor -> tensor.shape().stream().reduce(4L, (a, b) -> a * b))
            .sum();
  }

  @TempDir Path folder;

  private Path disk = Path.of("");

  @BeforeEach
  void makeDisk() throws Exception {
    disk = Files.createDirectory(folder.resolve("disk"));
    Process probe =
        new ProcessBuilder("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", disk.toString())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("probe").toFile())
            .start();
    assumeTrue(
        probe.waitFor() == 0, () -> "needs a mount namespace: " + text(folder.resolve("probe")));
  }

  private static String text(Path file) {
    try {
      return Files.readString(file, StandardCharsets.UTF_8).strip();
    } catch (IOException e) {
      return e.toString();
    }
  }

  /**
   * Runs a command where {@code disk} is what {@code mount} makes of it, then lists what is there.
   */
  private CommandResult on(String mount, List<String> command) throws Exception {
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    List<String> line =
        new ArrayList<>(
            List.of(
                "unshare",
                "-rm",
                "sh",
                "-c",
                mount + " && shift && \"$@\"; code=$?; ls -A \"$DISK\" >\"$DISK.list\"; exit $code",
                "sh",
                disk.toString()));
    line.addAll(command);
    ProcessBuilder builder =
        new ProcessBuilder(line).redirectOutput(out.toFile()).redirectError(err.toFile());
    builder.environment().put("DISK", disk.toString());
    int code = builder.start().waitFor();
    return new CommandResult(code, text(out), text(err));
  }

  private static String small(long bytes) {
    return "mount -t tmpfs -o size=" + bytes + " tmpfs \"$1\"";
  }

  private String listed() {
    return text(folder.resolve("disk.list"));
  }

  private List<String> fisher() {
    List<String> command = CommandProcess.java("-Dfishermerge.save-seconds=0");
    command.addAll(
        GoldenCommands.fisher("alpha", disk.resolve("f.safetensors"), "--batch-size", "2"));
    return command;
  }

  private List<String> average() {
    List<String> command = CommandProcess.java();
    command.addAll(averageArguments());
    return command;
  }

  private List<String> averageArguments() {
    return GoldenCommands.average(disk.resolve("merged"), "alpha");
  }

  @Test
  void anEstimateIsRefusedBeforeTheWorkWhereThereIsNoRoom() throws Exception {
    CommandResult result = on(small(FISHER_BYTES / 2), fisher());
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    assertThat(result.err())
        .contains("fisher-merge: " + disk.resolve("f.safetensors"), "not enough room on the disk");
    assertThat(listed()).isEmpty();
  }

  /** The result needs the room that saved progress would take. */
  @Test
  void whereThereIsRoomForTheResultOnlyProgressIsNotSaved() throws Exception {
    CommandResult result = on(small(FISHER_BYTES * 2), fisher());
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err().lines().filter(line -> line.startsWith("warning: the progress cannot")))
        .hasSize(1);
    assertThat(listed()).isEqualTo("f.safetensors");
  }

  @Test
  void aMergeIsRefusedWhereThereIsNoRoom() throws Exception {
    CommandResult result = on(small(64 << 10), average());
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    assertThat(result.err()).contains("model.safetensors: not enough room on the disk: needs");
    assertThat(listed()).isEmpty();
  }

  /** Room for the weights, but not for a file that is copied after them. */
  @Test
  void aDiskThatIsFullInTheMiddleIsNamedAndNothingIsLeft() throws Exception {
    Path base = Files.createDirectory(folder.resolve("base"));
    for (String file : List.of("model.safetensors", "config.json")) {
      Files.copy(Golden.path("clip-tiny/pretrained").resolve(file), base.resolve(file));
    }
    Files.writeString(base.resolve("tokenizer.json"), " ".repeat(4 << 20));
    List<String> command = average();
    command.set(command.indexOf("--base") + 1, base.toString());
    CommandResult result = on(small(5 << 20), command);
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    assertThat(result.err())
        .startsWith("fisher-merge: " + disk.resolve("merged"))
        .contains("tokenizer.json", "No space left");
    assertThat(result.err().lines()).hasSize(1);
    assertThat(listed()).isEmpty();
  }

  /** Free bytes say nothing of quotas and limits: the system refuses the blocks themselves. */
  @Test
  void aFileThatMayNotGetSoLongIsNamedAndNothingIsLeft() throws Exception {
    List<String> command =
        CommandProcess.java(
            "-XX:-UsePerfData", "-Dfishermerge.provider=scalar", "-Dfishermerge.require=");
    command.addAll(averageArguments());
    CommandResult result = on("mount -t tmpfs tmpfs \"$1\" && ulimit -f 40", command);
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    assertThat(result.err()).contains("model.safetensors: ", "allows no file of");
    assertThat(listed()).isEmpty();
  }

  @Test
  void aReadOnlyPlaceIsNamed() throws Exception {
    String readOnly = "mount -t tmpfs tmpfs \"$1\" && mount -o remount,ro \"$1\"";
    for (List<String> command : List.of(fisher(), average())) {
      CommandResult result = on(readOnly, command);
      assertThat(result.code()).as(result.err()).isEqualTo(1);
      assertThat(result.err()).contains(disk.toString(), "cannot be written", "ead-only");
      assertThat(result.err().lines()).hasSize(1);
      assertThat(listed()).isEmpty();
    }
  }
}
