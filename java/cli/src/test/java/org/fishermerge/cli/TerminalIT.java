package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * On a terminal, a pseudo one made by {@code script} of util-linux, and where standard output
 * cannot be written.
 */
final class TerminalIT {
  private static final String CLIP = Golden.path("clip-tiny").toString();
  private static final String ESCAPE = "\u001b";

  @TempDir Path folder;

  private static String quoted(List<String> words) {
    return words.stream()
        .map(word -> "'" + word.replace("'", "'\\''") + "'")
        .collect(Collectors.joining(" "));
  }

  private static List<String> line(String... arguments) {
    List<String> line = new ArrayList<>(CommandProcess.java());
    line.addAll(List.of(arguments));
    return line;
  }

  /** All that the terminal was sent. */
  private static String onTerminal(int columns, String setting, String... arguments)
      throws IOException, InterruptedException {
    assumeTrue(
        Stream.of(System.getenv("PATH").split(File.pathSeparator, -1))
            .anyMatch(path -> Files.isExecutable(Path.of(path, "script"))),
        "script of util-linux");
    String command = "stty cols " + columns + "; " + setting + " exec " + quoted(line(arguments));
    ProcessBuilder builder =
        new ProcessBuilder("script", "-qec", command, "/dev/null").redirectErrorStream(true);
    List.of("COLUMNS", "NO_COLOR").forEach(builder.environment()::remove);
    builder.environment().put("TERM", "xterm");
    builder.environment().put("SHELL", "/bin/sh");
    Process process = builder.start();
    process.getOutputStream().close();
    String sent = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(sent).isZero();
    return sent;
  }

  @Test
  void helpHasItsStylesAndFitsTheTerminal() throws Exception {
    String wide = onTerminal(100, "", "average", "--help");
    assertThat(wide).contains(ESCAPE + "[1m").doesNotContain("\\u001b");
    assertThat(longest(wide)).isBetween(81, 100);
    String plain = onTerminal(200, "NO_COLOR=1 COLUMNS=70", "average", "--help");
    assertThat(plain).doesNotContain(ESCAPE).doesNotContain("\\u001b").contains("--base=DIR");
    assertThat(longest(plain)).isBetween(56, 70);
  }

  /** Without styles. */
  private static int longest(String sent) {
    return sent.replaceAll(ESCAPE + "\\[[0-9;]*m", "")
        .lines()
        .mapToInt(String::length)
        .max()
        .orElseThrow();
  }

  @ParameterizedTest
  @ValueSource(ints = {60, 100, 200})
  void helpHeedsColumns(int columns) {
    String help =
        CommandResult.run(Map.of("COLUMNS", String.valueOf(columns)), List.of("fisher", "--help"))
            .succeeds()
            .out();
    assertThat(longest(help)).isBetween(columns - 15, columns);
    assertThat(help).doesNotContain(ESCAPE);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "0", "-5", "wide", "99999999999", "20"})
  void columnsThatMakeNoSenseAreTheUsual(String columns) {
    String help =
        CommandResult.run(Map.of("COLUMNS", columns), List.of("merge", "--help")).succeeds().out();
    assertThat(longest(help)).isLessThanOrEqualTo(80);
  }

  @Test
  void progressFitsTheTerminalAndShowsBeforeTheFirstBatch() throws Exception {
    String sent =
        onTerminal(
            40,
            "",
            "evaluate",
            "--model",
            CLIP + "/alpha",
            "--clip",
            CLIP + "/pretrained",
            "--heads",
            CLIP + "/expected.safetensors#alpha.",
            "--data",
            CLIP + "/expected.safetensors#alpha.",
            "--batch-size",
            "2");
    List<String> drawn = List.of(sent.split("\r", -1));
    assertThat(drawn).anyMatch(text -> text.startsWith("Loading "));
    assertThat(drawn).anyMatch(text -> text.startsWith("Evaluating  0/6 examples"));
    assertThat(drawn).anyMatch(text -> text.startsWith("Evaluating  6/6 examples"));
    assertThat(drawn)
        .filteredOn(text -> text.startsWith("Loading") || text.startsWith("Evaluating"))
        .allMatch(text -> text.length() <= 40);
    // Cleared before the result.
    assertThat(sent).containsPattern("\r *\r\\S*alpha: accuracy ");
  }

  /** Names of strangers' tensors are escaped there too. */
  @Test
  void foreignTextIsEscaped() throws Exception {
    Path file = folder.resolve("odd.safetensors");
    TestTensors.write(
        file, Map.of("a" + ESCAPE + "]0;title\u0007", TestTensors.Tensor.of(1, 2, 3)));
    assertThat(onTerminal(80, "", "inspect", "--tensors", file.toString()))
        .contains("a\\u001b]0;title\\u0007")
        .doesNotContain(ESCAPE);
  }

  private static CommandResult shell(String command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder("sh", "-c", command).start();
    process.getOutputStream().close();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    return new CommandResult(process.waitFor(), out, err);
  }

  @ParameterizedTest
  @ValueSource(strings = {"inspect", "--help", "--version"})
  void aFullDiskBehindStandardOutputIsAFailure(String command) throws Exception {
    String[] arguments =
        command.equals("inspect")
            ? new String[] {command, CLIP + "/alpha"}
            : new String[] {command};
    shell(quoted(line(arguments)) + " > /dev/full")
        .fails(1, "standard output cannot be written: No space left on device");
  }

  @Test
  void aReaderThatHasSeenEnoughNeedsNoMessage() throws Exception {
    List<String> inspect = line("inspect", "--tensors", CLIP + "/alpha");
    // The other end is closed long before the program writes.
    CommandResult closed = shell("{ " + quoted(inspect) + "; echo \"code $?\" >&2; } | true");
    assertThat(closed.err()).isEqualTo("code 1\n");
  }
}
