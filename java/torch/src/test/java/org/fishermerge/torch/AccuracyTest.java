package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class AccuracyTest {
  private static Accuracy of(int correct, int examples) {
    Accuracy accuracy = new Accuracy();
    float[] logits = new float[2 * examples];
    long[] labels = new long[examples];
    for (int i = 0; i < examples; i++) {
      logits[2 * i + (i < correct ? 0 : 1)] = 1;
    }
    accuracy.add(logits, labels);
    return accuracy;
  }

  /** Solutions p of (x/n - p)^2 = z^2 p (1 - p) / n, found by bisection: Wilson's definition. */
  private static double bound(int correct, int examples, boolean upper) {
    double share = (double) correct / examples;
    double inside = share;
    double outside = upper ? 1 : 0;
    for (int i = 0; i < 200; i++) {
      double p = (inside + outside) / 2;
      double z = Math.abs(share - p) / Math.sqrt(p * (1 - p) / examples);
      if (z < 1.959963984540054) {
        inside = p;
      } else {
        outside = p;
      }
    }
    return inside;
  }

  @ParameterizedTest
  @CsvSource({"0, 1", "1, 1", "5, 6", "81, 263", "999, 1000", "50, 100"})
  void theIntervalIsWilsons(int correct, int examples) {
    Accuracy.Interval interval = of(correct, examples).interval();
    if (correct > 0) {
      assertThat(interval.low()).isCloseTo(bound(correct, examples, false), within(1e-9));
    } else {
      assertThat(interval.low()).isZero();
    }
    if (correct < examples) {
      assertThat(interval.high()).isCloseTo(bound(correct, examples, true), within(1e-9));
    } else {
      assertThat(interval.high()).isCloseTo(1, within(1e-15));
    }
  }

  /** The example of Newcombe (1998), table I: 81 of 263. */
  @Test
  void agreesWithAPublishedValue() {
    Accuracy.Interval interval = of(81, 263).interval();
    assertThat(interval.low()).isCloseTo(0.2553, within(5e-5));
    assertThat(interval.high()).isCloseTo(0.3662, within(5e-5));
  }
}
