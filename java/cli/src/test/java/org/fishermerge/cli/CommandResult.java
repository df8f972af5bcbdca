package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** What one run of the command left: exit code, standard output, standard error. */
record CommandResult(int code, String out, String err) {
  /** No test asks the network, nor looks into the cache of whoever runs it. */
  private static final Map<String, String> OFFLINE =
      Map.of("HF_HUB_OFFLINE", "1", "HF_HOME", "/nonexistent/huggingface");

  static CommandResult run(String... args) {
    return run(OFFLINE, List.of(args));
  }

  static CommandResult run(Map<String, String> environment, List<String> args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        Main.run(
            environment,
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            args.toArray(String[]::new));
    return new CommandResult(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  static CommandResult run(List<String> args) {
    return run(OFFLINE, args);
  }

  /** A run that breaks off as soon as its standard output has a line that begins so. */
  static void breakOff(List<String> args, String line) {
    OutputStream breaking =
        new ByteArrayOutputStream() {
          private boolean broken;

          @Override
          public void flush() {
            if (!broken && ("\n" + toString(StandardCharsets.UTF_8)).contains("\n" + line)) {
              broken = true;
              throw new IllegalStateException("broken off by the test");
            }
          }
        };
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        Main.run(
            OFFLINE,
            new PrintStream(breaking, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            args.toArray(String[]::new));
    assertThat(err.toString(StandardCharsets.UTF_8)).contains("broken off by the test");
    assertThat(code).isEqualTo(1);
  }

  /** Exit code 0 and nothing on standard error, which is for progress and errors. */
  CommandResult succeeds() {
    assertThat(err).as("standard error").isEmpty();
    assertThat(code).as("exit code").isZero();
    return this;
  }

  /** The exit code, and one line on standard error that explains it; nothing on standard output. */
  CommandResult fails(int expectedCode, String... fragments) {
    assertThat(err).as("standard error").startsWith("fisher-merge: ").contains(fragments);
    assertThat(err.lines()).as("one line:%n%s", err).hasSize(1);
    assertThat(err).doesNotContain("\tat ").doesNotContain("unexpected failure");
    assertThat(out).as("standard output").isEmpty();
    assertThat(code).as("exit code").isEqualTo(expectedCode);
    return this;
  }
}
