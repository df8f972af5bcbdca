package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;

/** A command in a process of its own, looked at from outside. */
final class TimedCommand {
  private static final long INTERVAL_MILLIS = 10;
  private static final Pattern ANONYMOUS = Pattern.compile("RssAnon:\\s+(\\d+) kB");

  private TimedCommand() {}

  /**
   * What a command took.
   *
   * @param seconds from its start to its end
   * @param anonymousBytes the most anonymous memory that Linux counted for it, sampled; 0 elsewhere
   * @param said on standard output and standard error
   */
  record Outcome(double seconds, long anonymousBytes, String said) {}

  /** The program as users start it. */
  static String launcher() {
    return System.getProperty("fishermerge.launcher", "./fisher-merge");
  }

  /**
   * Runs a command to its end.
   *
   * @throws InputException if it fails
   */
  static Outcome run(List<String> command) throws IOException, InterruptedException {
    Path said = Files.createTempFile("fisher-merge-benchmark", ".txt");
    try {
      long start = System.nanoTime();
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(said.toFile())
              .start();
      AtomicLong peak = new AtomicLong();
      // The launcher becomes the JVM: one process.
      Path status = Path.of("/proc", Long.toString(process.pid()), "status");
      Thread sampler = Thread.ofPlatform().daemon().start(() -> sample(process, status, peak));
      int code = process.waitFor();
      double seconds = (System.nanoTime() - start) / 1e9;
      sampler.join();
      String text = Files.readString(said);
      if (code != 0) {
        throw new InputException(String.join(" ", command) + " failed: " + text.strip());
      }
      return new Outcome(seconds, peak.get(), text);
    } finally {
      Files.delete(said);
    }
  }

  private static void sample(Process process, Path status, AtomicLong peak) {
    try {
      while (process.isAlive()) {
        Matcher line = ANONYMOUS.matcher(Files.readString(status));
        if (line.find()) {
          peak.accumulateAndGet(1024 * Long.parseLong(line.group(1)), Math::max);
        }
        Thread.sleep(INTERVAL_MILLIS);
      }
    } catch (IOException e) {
      // It has just ended, or this is not Linux.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
