package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against the definition in float64, and against variances that are known. */
class SamplingErrorTest {
  private final Random random = new Random(17);

  private static Map<String, MemorySegment> tensors(Object... namesAndSizes) {
    Map<String, MemorySegment> sums = new LinkedHashMap<>();
    for (int i = 0; i < namesAndSizes.length; i += 2) {
      sums.put(
          (String) namesAndSizes[i], MemorySegment.ofArray(new float[(int) namesAndSizes[i + 1]]));
    }
    return sums;
  }

  private static void add(@Nullable MemorySegment ofName, long j, double value) {
    MemorySegment sum = Objects.requireNonNull(ofName);
    float before = sum.getAtIndex(ValueLayout.JAVA_FLOAT, j);
    sum.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) (before + value));
  }

  private static long size(MemorySegment sum) {
    return sum.byteSize() / Float.BYTES;
  }

  /** The formula as a mean of squared deviations of block means, in two passes. */
  private static double definition(double[][] blocks, int[] examples) {
    int values = blocks[0].length;
    double all = 0;
    double[] sum = new double[values];
    for (int k = 0; k < blocks.length; k++) {
      all += examples[k];
      for (int j = 0; j < values; j++) {
        sum[j] += blocks[k][j];
      }
    }
    double deviations = 0;
    double norm = 0;
    for (int j = 0; j < values; j++) {
      for (int k = 0; k < blocks.length; k++) {
        double deviation = blocks[k][j] / examples[k] - sum[j] / all;
        deviations += examples[k] * deviation * deviation;
      }
      norm += sum[j] * sum[j];
    }
    return Math.sqrt(deviations / (blocks.length - 1) * all / norm);
  }

  @Test
  void isTheStandardErrorOfTheDefinitionForBlocksOfAnySize() {
    Map<String, MemorySegment> sums = tensors("a", 37, "b", 5);
    int[] sizes = {32, 32, 50, 7, 100};
    double[][] blocks = new double[sizes.length][42];
    try (SamplingError error = new SamplingError(sums)) {
      long examples = 0;
      for (int k = 0; k < sizes.length; k++) {
        for (int j = 0; j < 42; j++) {
          blocks[k][j] = sizes[k] * (1 + j + random.nextGaussian());
          add(sums.get(j < 37 ? "a" : "b"), j < 37 ? j : j - 37, blocks[k][j]);
        }
        examples += sizes[k];
        error.endBlock(examples, sums);
        assertThat(error.relative().isPresent()).isEqualTo(k > 0);
      }
      assertThat(error.relative().orElseThrow()).isCloseTo(definition(blocks, sizes), within(1e-5));
    }
  }

  @Test
  void theLargestErrorOfDiagonalAndFactorsCounts() {
    Map<String, MemorySegment> sums = tensors("a.weight", 40, "a.kron_a", 40, "a.kron_g", 40);
    double[] spread = {0.1, 0.01, 0.4};
    double[] errors = new double[3];
    double[][][] blocks = new double[3][6][40];
    int[] sizes = {32, 32, 32, 32, 32, 32};
    try (SamplingError error = new SamplingError(sums)) {
      for (int k = 0; k < sizes.length; k++) {
        int t = 0;
        for (MemorySegment sum : sums.values()) {
          // Factors of inputs are so large that their norm would hide the others.
          double scale = t == 1 ? 1e6 : 1;
          for (int j = 0; j < 40; j++) {
            blocks[t][k][j] = scale * (1 + spread[t] * random.nextGaussian());
            add(sum, j, blocks[t][k][j]);
          }
          t++;
        }
        error.endBlock(32L * (k + 1), sums);
      }
      for (int t = 0; t < 3; t++) {
        errors[t] = definition(blocks[t], sizes);
      }
      assertThat(errors[2]).isGreaterThan(2 * errors[0]);
      assertThat(error.relative().orElseThrow()).isCloseTo(errors[2], within(1e-5));
    }
  }

  /** Examples are gradients of one direction, scaled at random: the hardest to tell from blocks. */
  @ParameterizedTest
  @CsvSource({"256", "4096"})
  void isRightOnAverageOverRuns(int examples) {
    int runs = 200;
    double squares = 0;
    for (int run = 0; run < runs; run++) {
      Map<String, MemorySegment> sums = tensors("a", 24);
      try (SamplingError error = new SamplingError(sums)) {
        for (int i = 0; i < examples; i++) {
          double scale = -Math.log(1 - random.nextDouble()); // mean and standard deviation are 1
          for (int j = 0; j < 24; j++) {
            add(sums.get("a"), j, scale * (j + 1));
          }
          if (i + 1 == SamplingError.blockEnd(i)) {
            error.endBlock(i + 1, sums);
          }
        }
        double e = error.relative().orElseThrow();
        squares += e * e / runs;
      }
    }
    assertThat(Math.sqrt(squares * examples)).isCloseTo(1, within(0.1));
  }

  @Test
  void someLinesOfLargeTensorsStandForAll() {
    Map<String, MemorySegment> sums = tensors("a", 1_500_003, "b", 2_000_000, "c", 3);
    double[][] blocks = new double[4][3_500_006];
    int[] sizes = {32, 32, 32, 32};
    try (SamplingError error = new SamplingError(sums)) {
      assertThat(error.state().byteSize()).isLessThan(5 << 20);
      for (int k = 0; k < 4; k++) {
        double common = 1 + 0.1 * random.nextGaussian();
        int at = 0;
        for (MemorySegment sum : sums.values()) {
          for (long j = 0; j < size(sum); j++) {
            double value = (j % 768 < 5 ? 20 : 1) * (common + 0.5 * random.nextGaussian());
            blocks[k][at++] = value;
            add(sum, j, value);
          }
        }
        error.endBlock(32L * (k + 1), sums);
      }
      double all = definition(blocks, sizes);
      assertThat(error.relative().orElseThrow()).isCloseTo(all, within(0.02 * all));
    }
  }

  @Test
  void thereIsNoneOfZeros() {
    Map<String, MemorySegment> sums = tensors("a", 4);
    try (SamplingError error = new SamplingError(sums)) {
      error.endBlock(32, sums);
      error.endBlock(64, sums);
      assertThat(error.relative()).isEmpty();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, 32",
    "31, 32",
    "32, 64",
    "255, 256",
    "256, 288",
    "511, 512",
    "512, 576",
    "575, 576",
    "1024, 1152",
    "16383, 16384"
  })
  void blocksGrowWithTheRun(long position, long end) {
    assertThat(SamplingError.blockEnd(position)).isEqualTo(end);
  }
}
