package org.fishermerge.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The short form of fuzzing, which needs no tool: a target's seeds, and a number of seeded
 * mutations of them. The long form is {@code -Pfuzz}, where Jazzer is guided by coverage and starts
 * from the same seeds.
 */
public final class Fuzzing {
  /**
   * Mutations of each target in an ordinary build; {@code -Dfishermerge.mutations=N} sets another.
   */
  private static final int MUTATIONS = Integer.getInteger("fishermerge.mutations", 1500);

  private static final int MOST_CHANGES = 4;
  private static final int JAZZER_SECONDS = 120;
  private static final Pattern DONE = Pattern.compile("Done (\\d+) runs in (\\d+) second");
  private static final long[] SIZES = {0, 1, 7, 8, 255, 65536, 100_000_001, 1L << 31, 1L << 62, -1};
  private static final List<String> WORDS =
      List.of(
          "{", "}", "[", "]", "\"", ":", ",", "-1", "1e999", "null", "../", "/", "\\u0000",
          "\ud83d");

  private Fuzzing() {}

  /** Runs the seeds, then mutations of them; a failure names the input. Also writes the seeds. */
  public static void run(FuzzTarget target, long seed) throws IOException {
    List<byte[]> seeds = target.seeds();
    write(target, seeds);
    for (byte[] each : seeds) {
      attempt(target, each, "a seed");
    }
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < MUTATIONS; i++) {
      byte[] input = seeds.get(random.nextInt(seeds.size()));
      for (int change = random.nextInt(MOST_CHANGES); change >= 0; change--) {
        input = mutate(input, seeds, random);
      }
      attempt(target, input, "seed " + seed + ", mutation " + i);
    }
  }

  /** For Jazzer to start from. */
  private static Path write(FuzzTarget target, List<byte[]> seeds) throws IOException {
    Path folder =
        Files.createDirectories(
            Path.of("target", "fuzz", target.getClass().getSimpleName()).toAbsolutePath());
    for (int i = 0; i < seeds.size(); i++) {
      Files.write(folder.resolve("seed" + i), seeds.get(i));
    }
    return folder;
  }

  /** Executions that the long form is asked for; 0 without {@code -Pfuzz}. */
  public static long jazzerExecutions() {
    return Long.getLong("fishermerge.fuzz-executions", 0);
  }

  /**
   * The long form: runs Jazzer in a process of its own, for as many executions as were asked for or
   * until the time is over. What it says goes to {@code target/fuzz/NAME.log}.
   */
  public static void jazzer(FuzzTarget target) throws IOException, InterruptedException {
    Path seeds = write(target, target.seeds());
    String name = target.getClass().getSimpleName();
    Path log = seeds.resolveSibling(name + ".log");
    Path work = Files.createDirectories(seeds.resolveSibling(name + "-findings"));
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:+EnableDynamicAgentLoading",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                "com.code_intelligence.jazzer.Jazzer",
                "--target_class=" + target.getClass().getName(),
                "--instrumentation_includes=org.fishermerge.**:dev.hardwood.**:org.snakeyaml.**",
                "-runs=" + jazzerExecutions(),
                "-max_total_time=" + JAZZER_SECONDS,
                "-timeout=20",
                "-rss_limit_mb=4096",
                "-max_len=20000",
                seeds.toString())
            .directory(work.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    int code = process.waitFor();
    Matcher done = DONE.matcher(Files.readString(log));
    if (code != 0 || !done.find()) {
      throw new AssertionError(name + ": Jazzer ended with code " + code + ", see " + log);
    }
    System.out.println(name + ": " + done.group());
  }

  private static void attempt(FuzzTarget target, byte[] input, String which) {
    try {
      target.run(input);
    } catch (Throwable e) {
      byte[] shown = Arrays.copyOf(input, Math.min(input.length, 2000));
      throw new AssertionError(
          target.getClass().getSimpleName()
              + ", "
              + which
              + ", "
              + input.length
              + " bytes: "
              + HexFormat.of().formatHex(shown),
          e);
    }
  }

  private static byte[] mutate(byte[] input, List<byte[]> seeds, SplittableRandom random) {
    int at = input.length == 0 ? 0 : random.nextInt(input.length);
    int length = Math.min(input.length - at, 1 + random.nextInt(16));
    return switch (random.nextInt(8)) {
      case 0 -> splice(input, at, 0, new byte[] {(byte) random.nextInt()});
      case 1 -> splice(input, at, length, new byte[0]);
      case 2 -> splice(input, at, 0, Arrays.copyOfRange(input, at, at + length));
      case 3 -> Arrays.copyOf(input, at);
      case 4 -> splice(input, at, Math.min(8, input.length - at), size(random));
      case 5 ->
          splice(
              input,
              at,
              0,
              WORDS.get(random.nextInt(WORDS.size())).getBytes(StandardCharsets.UTF_8));
      case 6 -> {
        byte[] other = seeds.get(random.nextInt(seeds.size()));
        int from = other.length == 0 ? 0 : random.nextInt(other.length);
        yield splice(input, at, input.length - at, Arrays.copyOfRange(other, from, other.length));
      }
      default -> {
        byte[] flipped = input.clone();
        if (flipped.length > 0) {
          flipped[at] ^= (byte) (1 << random.nextInt(8));
        }
        yield flipped;
      }
    };
  }

  private static byte[] size(SplittableRandom random) {
    long value = SIZES[random.nextInt(SIZES.length)];
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }

  private static byte[] splice(byte[] input, int at, int removed, byte[] inserted) {
    byte[] result = new byte[input.length - removed + inserted.length];
    System.arraycopy(input, 0, result, 0, at);
    System.arraycopy(inserted, 0, result, at, inserted.length);
    System.arraycopy(
        input, at + removed, result, at + inserted.length, input.length - at - removed);
    return result;
  }

  /** A file with these bytes, replaced for every input; for targets that read files. */
  public static Path file(Path folder, String name, byte[] content) {
    try {
      return Files.write(folder.resolve(name), content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A folder for a target's files, for as long as the process lives. */
  public static Path folder() {
    try {
      Path shared = Path.of("/dev/shm");
      Path folder =
          Files.isWritable(shared)
              ? Files.createTempDirectory(shared, "fisher-merge-fuzz")
              : Files.createTempDirectory("fisher-merge-fuzz");
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void delete(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      System.err.println(folder + " cannot be removed: " + e);
    }
  }
}
