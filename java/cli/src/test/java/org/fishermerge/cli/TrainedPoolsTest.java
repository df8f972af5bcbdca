package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What holds of the demo's recipe, whatever the seed of its training: pools that nobody has looked
 * at. {@code -Dfishermerge.trained-pools=N} sets how many are trained, each for some minutes; none
 * without it.
 */
final class TrainedPoolsTest {
  private static final int POOLS = Integer.getInteger("fishermerge.trained-pools", 0);

  /** Of a mean over 4,000 pictures, two standard errors. */
  private static final double NOISE = 0.015;

  @TempDir Path folder;

  private static double mean(JsonNode report, String row) {
    JsonNode mean = report.path(row).path("mean");
    assertThat(mean.isNumber()).as(row).isTrue();
    return mean.doubleValue();
  }

  /** It says on standard error how far it is. */
  private static void run(String... line) {
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isZero();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void searchesGainWhateverTheSeed(int seed) throws IOException {
    assumeTrue(seed <= POOLS, "-Dfishermerge.trained-pools=" + seed + " trains this one");
    Path models = folder.resolve("models.safetensors");
    Path demo = folder.resolve("demo");
    run("demo", "--train", models.toString(), "--seed", Integer.toString(seed));
    run("demo", "--models", models.toString(), "--out", demo.toString());
    JsonNode report = new JsonMapper().readTree(demo.resolve("report.json").toFile());
    double base = mean(report, "base");
    double average = mean(report, "simple average");
    double byKl = mean(report, "best rule by KL");
    double blend = mean(report, "blend by KL");
    assertThat(base).isBetween(0.4, 0.65);
    assertThat(mean(report, "fine-tuned, each its own")).isGreaterThan(0.9);
    assertThat(byKl).isGreaterThan(Math.max(base, average) - NOISE);
    assertThat(blend).isGreaterThan(byKl - NOISE);
    // Of the pools that were measured first the blend gained 22 points and more.
    assertThat(blend).isGreaterThan(average + 0.1);
  }
}
