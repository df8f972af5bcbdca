package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.demo.DemoPictures;
import org.fishermerge.estimate.FisherCache;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Against the Fisher of sixteen times as many other pictures, on one of the demo's towers. */
class SamplingErrorCommandsTest {
  private static final String TASK = "dots";

  @TempDir static Path folder = Path.of("");

  private static Path pictures = Path.of("");

  @BeforeAll
  static void draw() {
    DemoPictures.models(folder);
    pictures = DemoPictures.write(TASK, 5002, 512, folder.resolve("pictures.safetensors"));
  }

  private static CommandResult fisher(Path data, String out, String... options) {
    Path models = folder.resolve("models");
    List<String> line = new ArrayList<>(List.of("fisher", "--data", data.toString()));
    line.addAll(List.of("--model", models.resolve(TASK).toString()));
    line.addAll(List.of("--clip", models.resolve("base").toString()));
    line.addAll(List.of("--heads", models + ".safetensors#" + TASK + "."));
    line.addAll(List.of("--out", folder.resolve(out).toString()));
    line.addAll(List.of(options));
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isZero();
    return result;
  }

  private static double stated(String file) {
    try (StatisticFile statistics = StatisticFile.open(folder.resolve(file))) {
      return Double.parseDouble(
          Objects.requireNonNull(statistics.metadata().orElseThrow().samplingError()));
    }
  }

  private static long examples(String file) {
    try (StatisticFile statistics = StatisticFile.open(folder.resolve(file))) {
      return statistics.examples();
    }
  }

  private static Map<String, float[]> means(String file) {
    Map<String, float[]> means = new TreeMap<>();
    long examples = examples(file);
    try (Checkpoint sums = Checkpoint.open(folder.resolve(file))) {
      for (String name : sums.tensors().keySet()) {
        float[] values = sums.floats(name);
        for (int j = 0; j < values.length; j++) {
          values[j] /= examples;
        }
        means.put(name, values);
      }
    }
    return means;
  }

  /** |a - b| / |b| over all values. */
  private static double distance(Map<String, float[]> a, Map<String, float[]> b) {
    double difference = 0;
    double norm = 0;
    for (Map.Entry<String, float[]> entry : b.entrySet()) {
      float[] other = Objects.requireNonNull(a.get(entry.getKey()));
      for (int j = 0; j < other.length; j++) {
        difference += Math.pow((double) other[j] - entry.getValue()[j], 2);
        norm += Math.pow(entry.getValue()[j], 2);
      }
    }
    return Math.sqrt(difference / norm);
  }

  @Test
  void autoEndsWhereTheErrorIsThatWhichWasAskedFor() {
    CommandResult result = fisher(pictures, "auto.safetensors", "--examples", "auto:18");
    long examples = examples("auto.safetensors");
    double stated = stated("auto.safetensors");
    assertThat(examples).isBetween(128L, 256L);
    assertThat(stated).isBetween(0.1, 0.18);
    assertThat(result.out())
        .contains("over " + examples + " examples", "sampling error: ", "choice of examples)");

    Path others =
        DemoPictures.write(
            TASK, 5001, Math.toIntExact(16 * examples), folder.resolve("others.safetensors"));
    fisher(others, "others-fisher.safetensors", "--examples", "1000000");
    double error = distance(means("auto.safetensors"), means("others-fisher.safetensors"));
    assertThat(error).isBetween(0.6 * stated, 1.5 * stated);

    // Neither batches nor threads have a say in where it ends.
    for (String batch : List.of("7", "64")) {
      String out = "batches-of-" + batch + ".safetensors";
      fisher(pictures, out, "--examples", "auto:18", "--batch-size", batch);
      assertThat(examples(out)).isEqualTo(examples);
      assertThat(stated(out)).isCloseTo(stated, within(0.001));
      assertThat(distance(means(out), means("auto.safetensors"))).isLessThan(1e-4);
    }
  }

  @Test
  void aNumberOfExamplesStatesItsErrorAndASumDoesNot() {
    CommandResult first = fisher(pictures, "first.safetensors", "--examples", "128");
    assertThat(first.out()).contains("sampling error: ");
    fisher(pictures, "second.safetensors", "--examples", "64", "--seed", "5");
    CommandResult inspected =
        CommandResult.run("inspect", folder.resolve("first.safetensors").toString()).succeeds();
    assertThat(inspected.out())
        .contains("fisher_sampling_error: " + stated("first.safetensors") + "\n");

    Path sum = folder.resolve("sum.safetensors");
    CommandResult.run(
            "add",
            folder.resolve("first.safetensors").toString(),
            folder.resolve("second.safetensors").toString(),
            "--out",
            sum.toString())
        .succeeds();
    try (StatisticFile statistics = StatisticFile.open(sum)) {
      assertThat(statistics.examples()).isEqualTo(192);
      assertThat(statistics.metadata().orElseThrow().samplingError()).isNull();
    }
  }

  @Test
  void saysThatTheDataHaveTooFew() {
    CommandResult result =
        fisher(pictures, "few.safetensors", "--examples", "auto:1", "--labels", "argmax");
    assertThat(examples("few.safetensors")).isEqualTo(512);
    assertThat(result.out()).contains("; 1.00 % takes more examples");
  }

  /** Where the error was asked for, it is said that there is none. */
  @Test
  void oneExampleDoesNotTellItsError() {
    Path one = DemoPictures.write(TASK, 5003, 1, folder.resolve("one.safetensors"));
    CommandResult result = fisher(one, "of-one.safetensors", "--examples", "auto");
    assertThat(examples("of-one.safetensors")).isOne();
    assertThat(result.out()).contains("sampling error: cannot be told from 1 example\n");
  }

  /** What runs is called what it is. */
  @Test
  void progressSaysWhatIsEstimated() {
    assertThat(FisherCache.title(EnumSet.of(StatisticKind.GRAM))).isEqualTo("Gram matrices");
    assertThat(FisherCache.title(EnumSet.of(StatisticKind.GRAM, StatisticKind.DIAGONAL_FISHER)))
        .isEqualTo("Fisher information");
  }

  @Test
  void tooFewExamplesStateNone() {
    CommandResult result = fisher(pictures, "one-block.safetensors", "--examples", "32");
    assertThat(result.out()).doesNotContain("sampling error");
    try (StatisticFile statistics = StatisticFile.open(folder.resolve("one-block.safetensors"))) {
      assertThat(statistics.metadata().orElseThrow().samplingError()).isNull();
    }
  }
}
