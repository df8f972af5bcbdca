package org.fishermerge.benchmarks;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.fishermerge.benchmarks.PairedRatios.Verdict;
import org.fishermerge.checkpoint.InputException;

/**
 * {@code benchmarks/guard}: whether this build is slower than one of another commit. Each block
 * measures the reference, the present and the reference again, in random order, each in a fresh
 * process. Exit code 0: not slower than tolerated; 1: slower; 3: undecided, because the machine is
 * too noisy.
 */
public final class Guard {
  static final int SLOWER = 1;
  static final int UNDECIDED = 3;

  /** Of what does not depend on how busy the machine is: bytes allocated, page faults, calls. */
  static final double COUNTER_TOLERANCE = 0.01;

  /**
   * One commit's build.
   *
   * @param commit as git names it
   */
  record Build(String commit, Path root) {}

  /** What was measured of a build, by name: seconds and counts, the smaller the better. */
  record Measured(Map<String, Double> times, Map<String, Double> counters) {}

  /** Measures a build once, in processes of its own. */
  @FunctionalInterface
  interface Measurement {
    Measured of(Build build) throws IOException, InterruptedException;
  }

  private Guard() {}

  /** Arguments: see {@link GuardOptions}. */
  public static void main(String[] args) throws IOException, InterruptedException {
    try {
      GuardOptions options = GuardOptions.of(args);
      System.exit(run(options, new GuardRun(options), System.out));
    } catch (InputException | IllegalStateException e) {
      System.err.println("benchmarks/guard: " + e.getMessage());
      System.exit(2);
    }
  }

  /** Measures all blocks, prints a table, appends a line to the record; returns the exit code. */
  static int run(GuardOptions options, Measurement measurement, PrintStream out)
      throws IOException, InterruptedException {
    Random random = new Random(options.seed());
    List<List<Measured>> blocks = new ArrayList<>();
    for (int b = 0; b < options.blocks(); b++) {
      // 0 and 1 are the reference, 2 is the present.
      List<Integer> order = new ArrayList<>(List.of(0, 1, 2));
      Collections.shuffle(order, random);
      Measured[] block = new Measured[3];
      for (int which : order) {
        block[which] = measurement.of(which == 2 ? options.present() : options.reference());
      }
      blocks.add(List.of(block));
      System.err.printf("block %d of %d%n", b + 1, options.blocks());
    }
    Map<String, PairedRatios> times = ratios(blocks, Measured::times, options.seed());
    Map<String, PairedRatios> counters = ratios(blocks, Measured::counters, options.seed());
    out.printf(
        Locale.ROOT,
        "%s over %s, %d blocks, seed %d: medians of ratios and 95 %% intervals%n%-64s %8s %17s"
            + " %17s%n",
        options.present().commit(),
        options.reference().commit(),
        options.blocks(),
        options.seed(),
        "time, tolerance " + options.tolerance(),
        "ratio",
        "interval",
        "reference twice");
    Set<Verdict> verdicts = new TreeSet<>(print(times, options.tolerance(), out));
    out.printf("counted, tolerance %s%n", COUNTER_TOLERANCE);
    verdicts.addAll(print(counters, COUNTER_TOLERANCE, out));
    unpaired(blocks).forEach(name -> out.printf("%-64s only in one of the builds%n", name));
    if (options.record() != null) {
      record(options, times, counters);
    }
    if (times.isEmpty()) {
      throw new InputException("no benchmark is in both builds; nothing was compared");
    }
    return verdicts.contains(Verdict.SLOWER)
        ? SLOWER
        : verdicts.contains(Verdict.UNDECIDED) ? UNDECIDED : 0;
  }

  /** What part of a measurement is looked at. */
  private interface Part {
    Map<String, Double> of(Measured measured);
  }

  private static Map<String, PairedRatios> ratios(
      List<List<Measured>> blocks, Part part, long seed) {
    Map<String, PairedRatios> ratios = new LinkedHashMap<>();
    for (String name : part.of(blocks.getFirst().getFirst()).keySet()) {
      double[][] reference = new double[blocks.size()][];
      double[] present = new double[blocks.size()];
      boolean everywhere = true;
      for (int b = 0; b < present.length; b++) {
        List<Double> values = new ArrayList<>();
        for (Measured measured : blocks.get(b)) {
          Double value = part.of(measured).get(name);
          if (value != null) {
            values.add(value);
          }
        }
        everywhere &= values.size() == 3;
        if (everywhere) {
          reference[b] = new double[] {values.get(0), values.get(1)};
          present[b] = values.get(2);
        }
      }
      if (everywhere) {
        ratios.put(name, PairedRatios.of(reference, present, seed));
      }
    }
    return ratios;
  }

  private static Set<String> unpaired(List<List<Measured>> blocks) {
    Set<String> reference = blocks.getFirst().get(0).times().keySet();
    Set<String> present = blocks.getFirst().get(2).times().keySet();
    Set<String> names = new TreeSet<>(reference);
    names.addAll(present);
    names.removeIf(name -> reference.contains(name) && present.contains(name));
    return names;
  }

  private static List<Verdict> print(
      Map<String, PairedRatios> ratios, double tolerance, PrintStream out) {
    List<Verdict> verdicts = new ArrayList<>();
    ratios.forEach((name, ratio) -> {
      Verdict verdict = ratio.verdict(tolerance);
      verdicts.add(verdict);
      out.printf(
          Locale.ROOT,
          "%-64s %8.3f [%6.3f, %6.3f] [%6.3f, %6.3f] %s%n",
          name,
          ratio.change().median(),
          ratio.change().low(),
          ratio.change().high(),
          ratio.twice().low(),
          ratio.twice().high(),
          verdict == Verdict.HOLDS ? "" : verdict.name().toLowerCase(Locale.ROOT));
    });
    return verdicts;
  }

  /** One line of JSON: what a later look at many runs needs. */
  private static void record(
      GuardOptions options, Map<String, PairedRatios> times, Map<String, PairedRatios> counters)
      throws IOException {
    JsonMapper mapper = new JsonMapper();
    ObjectNode line =
        mapper
            .createObjectNode()
            .put("reference", options.reference().commit())
            .put("present", options.present().commit())
            .put("processor", processor())
            .put("cores", Runtime.getRuntime().availableProcessors())
            .put("blocks", options.blocks())
            .put("seed", options.seed())
            .put("tolerance", options.tolerance());
    ObjectNode ratios = line.putObject("ratios");
    for (Map<String, PairedRatios> part : List.of(times, counters)) {
      part.forEach((name, ratio) ->
          ratios
              .putObject(name)
              .put("ratio", ratio.change().median())
              .put("low", ratio.change().low())
              .put("high", ratio.change().high())
              .put("reference_low", ratio.twice().low())
              .put("reference_high", ratio.twice().high()));
    }
    Files.writeString(
        Objects.requireNonNull(options.record()),
        mapper.writeValueAsString(line) + "\n",
        StandardOpenOption.CREATE,
        StandardOpenOption.APPEND);
  }

  private static String processor() throws IOException {
    Path info = Path.of("/proc/cpuinfo");
    return Files.exists(info)
        ? Arrays.stream(Files.readString(info).split("\n"))
            .filter(line -> line.startsWith("model name"))
            .map(line -> line.substring(line.indexOf(':') + 1).strip())
            .findFirst()
            .orElse("unknown")
        : System.getProperty("os.arch");
  }
}
