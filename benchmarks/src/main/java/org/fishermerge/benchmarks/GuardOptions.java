package org.fishermerge.benchmarks;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.fishermerge.benchmarks.Guard.Build;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * What {@code benchmarks/guard} was asked for.
 *
 * @param tolerance how much slower the present may be, as a fraction
 * @param blocks at least 5; fewer have no interval to speak of
 * @param only a regular expression that names of benchmarks must contain
 * @param seed of the order within blocks and of the bootstrap
 * @param record a file that a line of JSON is appended to, or null
 */
record GuardOptions(
    Build reference,
    Build present,
    double tolerance,
    int blocks,
    String only,
    long seed,
    @Nullable Path record) {
  private static final int LEAST_BLOCKS = 5;

  /**
   * Of a command line: {@code --reference COMMIT FOLDER --present COMMIT FOLDER [--tolerance T]
   * [--blocks N] [--only REGEX] [--seed S] [--record FILE]}.
   *
   * @throws InputException if it holds anything else, or lacks a build
   */
  static GuardOptions of(String... arguments) {
    Map<String, Build> builds = new HashMap<>();
    Map<String, String> options = new HashMap<>();
    for (int i = 0; i < arguments.length; ) {
      switch (arguments[i]) {
        case "--reference", "--present" -> {
          requireValues(arguments, i, 2);
          builds.put(arguments[i], new Build(arguments[i + 1], Path.of(arguments[i + 2])));
          i += 3;
        }
        case "--tolerance", "--blocks", "--only", "--seed", "--record" -> {
          requireValues(arguments, i, 1);
          options.put(arguments[i], arguments[i + 1]);
          i += 2;
        }
        default ->
            throw new InputException(
                arguments[i] + ": expected --tolerance, --blocks, --only, --seed or --record");
      }
    }
    Build reference = builds.get("--reference");
    Build present = builds.get("--present");
    if (reference == null || present == null) {
      throw new InputException("--reference and --present must both be given");
    }
    double tolerance = number("--tolerance", options.getOrDefault("--tolerance", "0.05"));
    double blocks = number("--blocks", options.getOrDefault("--blocks", "15"));
    if (!(tolerance > 0 && tolerance < 1)) {
      throw new InputException("--tolerance " + tolerance + ": expected a fraction such as 0.05");
    }
    if (!(blocks >= LEAST_BLOCKS) || blocks != Math.rint(blocks)) {
      throw new InputException(
          "--blocks " + options.get("--blocks") + ": expected at least " + LEAST_BLOCKS);
    }
    String record = options.get("--record");
    return new GuardOptions(
        reference,
        present,
        tolerance,
        (int) blocks,
        options.getOrDefault("--only", "."),
        (long) number("--seed", options.getOrDefault("--seed", "1")),
        record == null ? null : Path.of(record));
  }

  private static void requireValues(String[] arguments, int at, int count) {
    if (at + count >= arguments.length) {
      throw new InputException(arguments[at] + ": a value is missing");
    }
  }

  private static double number(String option, String text) {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new InputException(option + " " + text + ": expected a number", e);
    }
  }
}
