package org.fishermerge.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.fishermerge.benchmarks.Guard.Build;
import org.fishermerge.benchmarks.Guard.Measured;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** On measurements with the noise of a shared machine, where the truth is known. */
final class GuardTest {
  /** A machine whose speed wanders by a third while the blocks run, and jumps now and then. */
  private static final class NoisyMachine implements Guard.Measurement {
    private final Random random;
    private final double slowdown;
    private final double noise;
    private final long faults;
    private double speed = 1;

    NoisyMachine(long seed, double slowdown, double noise, long faults) {
      random = new Random(seed);
      this.slowdown = slowdown;
      this.noise = noise;
      this.faults = faults;
    }

    @Override
    public Measured of(Build build) {
      speed *= Math.exp(0.03 * random.nextGaussian());
      double jump = random.nextInt(10) == 0 ? 1.3 : 1;
      double seconds = speed * jump * Math.exp(noise * random.nextGaussian());
      boolean present = build.commit().equals("present");
      return new Measured(
          Map.of("kernel", present ? seconds * slowdown : seconds),
          Map.of("faults", present ? (double) faults : 10_000));
    }
  }

  private record Said(int code, String text) {}

  private static Said guard(Guard.Measurement machine, long seed, String... more)
      throws IOException, InterruptedException {
    String[] words = {
      "--reference", "reference", ".", "--present", "present", ".", "--seed", Long.toString(seed)
    };
    String[] all = Arrays.copyOf(words, words.length + more.length);
    System.arraycopy(more, 0, all, words.length, more.length);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int code =
        Guard.run(
            GuardOptions.of(all), machine, new PrintStream(out, true, StandardCharsets.UTF_8));
    return new Said(code, out.toString(StandardCharsets.UTF_8));
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void aSlowdownOfATenthIsReported(long seed) throws Exception {
    Said said = guard(new NoisyMachine(seed, 1.1, 0.01, 10_000), seed, "--blocks", "25");
    assertThat(said.code()).as("seed %d: %s", seed, said.text()).isEqualTo(Guard.SLOWER);
    assertThat(said.text()).containsPattern("(?m)^kernel +1\\.\\d{3} .*slower$");
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void theSameCommitTwiceIsNotSlower(long seed) throws Exception {
    Said said = guard(new NoisyMachine(seed, 1, 0.01, 10_000), seed, "--blocks", "25");
    assertThat(said.code()).as("seed %d: %s", seed, said.text()).isZero();
  }

  @Test
  void aMachineTooNoisyToTellIsNeverGreen() throws Exception {
    for (double slowdown : new double[] {1, 1.1}) {
      Said said = guard(new NoisyMachine(1, slowdown, 0.4, 10_000), 1);
      assertThat(said.code()).as(said.text()).isEqualTo(Guard.UNDECIDED);
    }
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void whatIsFarBelowTheToleranceIsNotSlowerOnAnyMachine(long seed) throws Exception {
    Said said = guard(new NoisyMachine(seed, 0.5, 0.2, 10_000), seed, "--blocks", "25");
    assertThat(said.code()).as("seed %d: %s", seed, said.text()).isZero();
  }

  @Test
  void aCountThatRisesByMoreThanOnePercentIsReported() throws Exception {
    assertThat(guard(new NoisyMachine(1, 1, 0.01, 10_050), 1).code()).isZero();
    assertThat(guard(new NoisyMachine(1, 1, 0.01, 10_150), 1).code()).isEqualTo(Guard.SLOWER);
  }

  @Test
  void aLineOfTheRecordHoldsTheRatios(@TempDir Path folder) throws Exception {
    Path record = folder.resolve("record.jsonl");
    guard(new NoisyMachine(1, 1.1, 0.01, 10_000), 1, "--record", record.toString());
    guard(new NoisyMachine(2, 1, 0.01, 10_000), 2, "--record", record.toString());
    var lines = Files.readAllLines(record);
    assertThat(lines).hasSize(2);
    JsonNode line = new JsonMapper().readTree(lines.getFirst());
    assertThat(line.at("/reference").textValue()).isEqualTo("reference");
    assertThat(line.at("/ratios/kernel/ratio").doubleValue()).isBetween(1.05, 1.15);
    assertThat(line.at("/processor").textValue()).isNotEmpty();
  }

  @Test
  void whatOnlyOneBuildHasIsSaidAndNothingInCommonIsAnError() throws Exception {
    Guard.Measurement differing =
        build -> new Measured(Map.of("shared", 1.0, build.commit() + " only", 1.0), Map.of());
    assertThat(guard(differing, 1).text())
        .contains("present only", "reference only", "only in one of the builds");
    Guard.Measurement disjoint = build -> new Measured(Map.of(build.commit(), 1.0), Map.of());
    assertThatThrownBy(() -> guard(disjoint, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("nothing was compared");
  }

  @ParameterizedTest
  @ValueSource(strings = {"--blocks 2", "--blocks x", "--tolerance 0", "--tolerance", "--fast"})
  void wrongWordsAreRefused(String words) {
    assertThatThrownBy(() -> guard(new NoisyMachine(1, 1, 0.01, 1), 1, words.split(" ", -1)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(words.split(" ", -1)[0]);
  }
}
