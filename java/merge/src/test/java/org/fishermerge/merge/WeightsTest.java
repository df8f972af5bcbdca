package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

final class WeightsTest {
  private static final double[] ONES = {1, 1};
  private static final long[] MEANS = {1, 1};

  /** FusionBench's own functions ran on these numbers. */
  @Test
  void matchesTheCheckVector() {
    double[] norms = {0.04, Math.sqrt(1 + 0.25 + 4e-12)};
    List<Merger.Share> byModel = Weights.shares(ONES, MEANS, norms, 1e-6);
    assertThat(merge(byModel, 0.04, 1, 1, 3)).isCloseTo(1.9442718, within(1e-6));
    assertThat(merge(byModel, 0, 0.5, 2, 6)).isCloseTo(5.9997764, within(1e-6));
    assertThat(merge(byModel, 0, 2e-6, 0.5, -0.5)).isCloseTo(0.40307003, within(1e-7));
    List<Merger.Share> none = Weights.shares(ONES, MEANS, null, 1e-6);
    assertThat(merge(none, 0.04, 1, 1, 3)).isCloseTo(2.9230750, within(1e-6));
    assertThat(merge(none, 0, 0.5, 2, 6)).isCloseTo(5.9999919, within(1e-6));
    assertThat(merge(none, 0, 2e-6, 0.5, -0.5)).isCloseTo(-0.25, within(1e-7));
  }

  @Test
  void sumsAreDividedByTheirExamples() {
    assertThat(Weights.shares(ONES, new long[] {4, 8}, null, 0.5))
        .containsExactly(new Merger.Share(0.25, 0.5), new Merger.Share(0.125, 0.5));
  }

  /** No minimal Fisher is the limit of ever smaller ones, for every kind of zero. */
  @Test
  void noMinimalFisherIsTheLimit() {
    double[] coefficients = {1, 3};
    double[][] cases = {{0, 0}, {0, 2}, {2, 0}, {2, 5}};
    for (double[] fisher : cases) {
      double[] norms = {fisher[0], fisher[1]};
      for (double[] by : new double[][] {norms, null}) {
        double limit = merge(Weights.shares(coefficients, MEANS, by, 1e-30), fisher, 10, 20);
        double exact = merge(Weights.shares(coefficients, MEANS, by, 0), fisher, 10, 20);
        assertThat(exact).isCloseTo(limit, within(1e-12));
      }
    }
    // Both zero at one element, but not everywhere: the norms still weigh.
    double[] norms = {1, 4};
    assertThat(merge(Weights.shares(ONES, MEANS, norms, 0), 0, 0, 10, 20))
        .isCloseTo((10 + 20 / 4.0) / (1 + 1 / 4.0), within(1e-12));
  }

  @Test
  void relativeWeightsSumToOne() {
    assertThat(Weights.relative(new double[] {1, 3}, null, 0)).containsExactly(0.25, 0.75);
    assertThat(Weights.relative(new double[] {1, 1}, new double[] {1, 3}, 0))
        .containsExactly(0.75, 0.25);
    assertThat(Weights.relative(new double[] {1, 1}, new double[] {0, 3}, 0)).containsExactly(1, 0);
    assertThat(Weights.relative(new double[] {0, 1}, new double[] {0, 3}, 0)).containsExactly(0, 1);
  }

  private static double merge(
      List<Merger.Share> shares, double f0, double f1, double theta0, double theta1) {
    return merge(shares, new double[] {f0, f1}, theta0, theta1);
  }

  private static double merge(
      List<Merger.Share> shares, double[] fisher, double theta0, double theta1) {
    double w0 = shares.get(0).scale() * fisher[0] + shares.get(0).offset();
    double w1 = shares.get(1).scale() * fisher[1] + shares.get(1).offset();
    return (w0 * theta0 + w1 * theta1) / (w0 + w1);
  }
}
