package org.fishermerge.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.benchmarks.Guard.Build;
import org.fishermerge.benchmarks.Guard.Measured;
import org.fishermerge.benchmarks.Guard.Measurement;
import org.fishermerge.checkpoint.InputException;

/**
 * Measures a build: its JMH suites in one fresh JVM, with less than JMH would run by itself since
 * the blocks repeat it, and a merge of two tiny models by its launcher.
 */
final class GuardRun implements Measurement {
  /** Fewer bytes of an operation are what JMH itself allocates. */
  private static final double LEAST_BYTES = 4096;

  private final GuardOptions options;

  GuardRun(GuardOptions options) {
    this.options = options;
  }

  @Override
  public Measured of(Build build) throws IOException, InterruptedException {
    Map<String, Double> times = new LinkedHashMap<>();
    Map<String, Double> counters = new LinkedHashMap<>();
    suites(build, times, counters);
    command(build, times, counters);
    return new Measured(times, counters);
  }

  private void suites(Build build, Map<String, Double> times, Map<String, Double> counters)
      throws IOException, InterruptedException {
    try (ScratchFolder folder = new ScratchFolder()) {
      Path results = folder.resolve("results.json");
      TimedCommand.run(
          List.of(
              Path.of(System.getProperty("java.home"), "bin", "java").toString(),
              "--enable-native-access=ALL-UNNAMED",
              "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
              "-Dfishermerge.require=cpu",
              "-cp",
              build.root().resolve("benchmarks/target/lib") + "/*",
              "org.openjdk.jmh.Main",
              options.only(),
              // Not forked again: this is a fresh JVM.
              "-f",
              "0",
              "-wi",
              "1",
              "-w",
              "300ms",
              "-i",
              "3",
              "-r",
              "300ms",
              "-prof",
              "gc",
              "-rf",
              "json",
              "-rff",
              results.toString()));
      for (JsonNode result : new JsonMapper().readTree(results.toFile())) {
        String name = result.path("benchmark").asText();
        StringBuilder text =
            new StringBuilder(name.substring(name.lastIndexOf('.', name.lastIndexOf('.') - 1) + 1));
        result
            .path("params")
            .properties()
            .forEach(
                p -> text.append(' ').append(p.getKey()).append('=').append(p.getValue().asText()));
        times.put(text.toString(), result.at("/primaryMetric/score").doubleValue());
        double bytes =
            result.path("secondaryMetrics").path("gc.alloc.rate.norm").path("score").doubleValue();
        if (bytes >= LEAST_BYTES) {
          counters.put(text + ", bytes allocated", bytes);
        }
      }
    }
  }

  /** The launcher's own start included: it is what users wait for. */
  private void command(Build build, Map<String, Double> times, Map<String, Double> counters)
      throws IOException, InterruptedException {
    try (ScratchFolder folder = new ScratchFolder()) {
      Path models = Path.of(System.getProperty("fishermerge.golden"), "clip-tiny");
      List<String> words = new ArrayList<>(List.of("sh", "-c", COUNTED, "counted"));
      words.add(build.root().resolve("fisher-merge").toString());
      words.addAll(List.of("average", "--base", models.resolve("pretrained").toString()));
      words.addAll(List.of("--model", models.resolve("alpha").toString()));
      words.addAll(List.of("--model", models.resolve("beta").toString()));
      words.addAll(List.of("--out", folder.resolve("merged").toString()));
      TimedCommand.Outcome outcome = TimedCommand.run(words);
      times.put("average of two tiny models, start included", outcome.seconds());
      Files.readString(Path.of("/proc/self/stat")); // Linux, or an error that says what is missing
      outcome.said().lines().forEach(line -> counted(line, counters));
    }
  }

  /** A shell's counts of its children: what the command took, seen from outside. */
  private static final String COUNTED =
      "\"$@\" && { awk '{print \"faults\", $11 + $13}' /proc/$$/stat;"
          + " awk '/^sysc/{n += $2} END{print \"calls\", n}' /proc/$$/io; }";

  private static void counted(String line, Map<String, Double> counters) {
    if (line.startsWith("faults ")) {
      counters.put("average of two tiny models, page faults", number(line));
    } else if (line.startsWith("calls ")) {
      counters.put("average of two tiny models, reads and writes", number(line));
    }
  }

  private static double number(String line) {
    double value = Double.parseDouble(line.substring(line.indexOf(' ') + 1));
    if (!(value > 0)) {
      throw new InputException("this system does not count what a process takes: " + line);
    }
    return value;
  }
}
