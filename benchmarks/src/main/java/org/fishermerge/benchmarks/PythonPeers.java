package org.fishermerge.benchmarks;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.InputException;

/**
 * The steps of a script in {@code benchmarks/peers}, in a Python process that waits for orders: so
 * ours and theirs take turns in one run, under one clock. Not thread-safe.
 */
final class PythonPeers implements AutoCloseable {
  private static final String MISSING = "missing ";
  private static final String READY = "ready ";

  private final String python;
  private final Process process;
  private final BufferedWriter orders;
  private final BufferedReader answers;
  private final String versions;

  /**
   * Starts the process and waits until its model is built.
   *
   * @param python an interpreter in whose environment the requirements are installed
   * @param script requirements.txt lies beside it
   * @param arguments what it takes
   * @throws InputException if the interpreter does not run or lacks a requirement
   */
  PythonPeers(String python, Path script, long... arguments) {
    this.python = python;
    List<String> command = new ArrayList<>(List.of(python, script.toString()));
    LongStream.of(arguments).mapToObj(Long::toString).forEach(command::add);
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
    // benchmarks/run sets these for our libtorch; the peers run as their users run them.
    builder.environment().keySet().removeAll(List.of("OMP_WAIT_POLICY", "OPENBLAS_THREAD_TIMEOUT"));
    try {
      process = builder.start();
    } catch (IOException e) {
      throw new InputException(
          "--peers " + python + ": cannot be run; expected a Python interpreter", e);
    }
    orders = process.outputWriter(StandardCharsets.UTF_8);
    answers = process.inputReader(StandardCharsets.UTF_8);
    try {
      String answer = answer();
      if (answer.startsWith(MISSING)) {
        throw new InputException(
            "--peers %s: %s; install what the peers need with\n  %s -m pip install -r %s"
                .formatted(
                    python,
                    answer.substring(MISSING.length()),
                    python,
                    script.resolveSibling("requirements.txt")));
      }
      versions = answer.substring(READY.length());
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /** One of the scripts that come with the benchmarks. */
  static Path script(String name) {
    return Path.of(System.getProperty("fishermerge.peers", "benchmarks/peers")).resolve(name);
  }

  /** The names and versions of the peers' libraries. */
  String versions() {
    return versions;
  }

  /**
   * Runs one step once.
   *
   * @param name as the script names its steps
   * @throws InputException if the process ends instead
   */
  void run(String name) {
    try {
      orders.write(name);
      orders.newLine();
      orders.flush();
    } catch (IOException e) {
      throw ended();
    }
    answer();
  }

  private String answer() {
    try {
      String answer = answers.readLine();
      if (answer == null) {
        throw ended();
      }
      return answer;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private InputException ended() {
    return new InputException(
        "--peers " + python + ": the Python process ended early; what it said stands above");
  }

  /** Ends the process. */
  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
