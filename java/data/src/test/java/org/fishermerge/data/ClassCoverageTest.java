package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ClassCoverageTest {
  @ParameterizedTest(name = "first {1} of {0} examples in {2} ordered classes")
  @CsvSource({
    "1000, 32, 10, 1",
    "1000, 150, 10, 2",
    "27000, 256, 10, 1",
    "1000, 256, 3, 1",
    "100, 20, 2, 1",
    "50000, 500, 100, 1",
    "1000, 16, 10, 1",
  })
  void orderedDataIsPoor(int examples, int chosen, int classes, int held) {
    ClassCoverage coverage = first(ordered(examples, classes), chosen);
    assertThat(coverage.held()).isEqualTo(held);
    assertThat(coverage.classes()).isEqualTo(classes);
    assertThat(coverage.poor()).isTrue();
  }

  @ParameterizedTest(name = "first {1} of {0} examples in {2} ordered classes")
  @CsvSource({
    "6, 2, 3", // too few to tell
    "6, 6, 3",
    "1000, 4, 10",
    "1000, 1, 2",
    "1000, 1000, 10", // nothing is left out
    "1000, 950, 10",
    "1000, 32, 1",
    "100, 10, 100", // any choice holds 10
  })
  void whatCannotBeToldIsNot(int examples, int chosen, int classes) {
    assertThat(first(ordered(examples, classes), chosen).poor()).isFalse();
  }

  /**
   * Mixed data of even and of very uneven classes; at most one in a thousand may be called poor.
   */
  @Test
  void mixedDataIsNotPoor() {
    Random random = new Random(20);
    int poor = 0;
    for (int trial = 0; trial < 2000; trial++) {
      int classes = 2 + random.nextInt(30);
      double uneven = random.nextInt(4);
      long[] labels =
          LongStream.range(0, 50 + random.nextInt(1000))
              .map(i -> (long) (classes * Math.pow(random.nextDouble(), 1 + uneven)))
              .toArray();
      poor += first(labels, 1 + random.nextInt(labels.length)).poor() ? 1 : 0;
    }
    assertThat(poor).isLessThanOrEqualTo(2);
  }

  /** Against the mean over all choices of 4 out of 8, counted one by one. */
  @Test
  void whatARandomChoiceMissesIsTheMeanOverAllChoices() {
    long[] labels = {0, 0, 0, 7, 7, -1, 0, 7};
    double missed = 0;
    int choices = 0;
    for (int mask = 0; mask < 256; mask++) {
      if (Integer.bitCount(mask) == 4) {
        int chosen = mask;
        long held =
            LongStream.range(0, 8)
                .filter(i -> (chosen >> i & 1) == 1)
                .map(i -> labels[(int) i])
                .distinct()
                .count();
        missed += 3 - held;
        choices++;
      }
    }
    ClassCoverage coverage = ClassCoverage.of(labels, new long[] {5, 7, 3, 4});
    assertThat(coverage.held()).isEqualTo(2);
    assertThat(coverage.classes()).isEqualTo(3);
    assertThat(coverage.missedAtRandom()).isCloseTo(missed / choices, within(1e-12));
  }

  private static ClassCoverage first(long[] labels, int chosen) {
    return ClassCoverage.of(labels, LongStream.range(0, chosen).toArray());
  }

  private static long[] ordered(int examples, int classes) {
    return LongStream.range(0, examples).map(i -> i * classes / examples).toArray();
  }
}
