package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.merge.ElementwiseRule.Operand;
import org.fishermerge.merge.ElementwiseRule.Weight;
import org.junit.jupiter.api.Test;

final class DiagonalFisherTest {
  private static final DiagonalFisher BY_MODEL = DiagonalFisher.DEFAULT;
  private static final DiagonalFisher UNNORMALISED = new DiagonalFisher(Normalization.NONE, 1e-6);

  private static List<Operand> operands(double c0, double c1, double norm0, double norm1) {
    return List.of(new Operand(c0, 1, norm0), new Operand(c1, 1, norm1));
  }

  /** FusionBench's own functions ran on these numbers. */
  @Test
  void matchesTheCheckVector() {
    List<Operand> operands = operands(1, 1, 0.04, Math.sqrt(1 + 0.25 + 4e-12));
    List<Weight> byModel = BY_MODEL.weights(operands);
    assertThat(merge(byModel, 0.04, 1, 1, 3)).isCloseTo(1.9442718, within(1e-6));
    assertThat(merge(byModel, 0, 0.5, 2, 6)).isCloseTo(5.9997764, within(1e-6));
    assertThat(merge(byModel, 0, 2e-6, 0.5, -0.5)).isCloseTo(0.40307003, within(1e-7));
    List<Weight> none = UNNORMALISED.weights(operands);
    assertThat(merge(none, 0.04, 1, 1, 3)).isCloseTo(2.9230750, within(1e-6));
    assertThat(merge(none, 0, 0.5, 2, 6)).isCloseTo(5.9999919, within(1e-6));
    assertThat(merge(none, 0, 2e-6, 0.5, -0.5)).isCloseTo(-0.25, within(1e-7));
  }

  @Test
  void sumsAreDividedByTheirExamples() {
    List<Operand> operands = List.of(new Operand(1, 4, Double.NaN), new Operand(1, 8, Double.NaN));
    assertThat(new DiagonalFisher(Normalization.NONE, 0.5).weights(operands))
        .containsExactly(new Weight(0.25, 0.5), new Weight(0.125, 0.5));
  }

  /** No minimal Fisher is the limit of ever smaller ones, for every kind of zero. */
  @Test
  void noMinimalFisherIsTheLimit() {
    double[][] cases = {{0, 0}, {0, 2}, {2, 0}, {2, 5}};
    for (double[] fisher : cases) {
      List<Operand> operands = operands(1, 3, fisher[0], fisher[1]);
      for (Normalization by : Normalization.values()) {
        List<Weight> small = new DiagonalFisher(by, 1e-30).weights(operands);
        List<Weight> none = new DiagonalFisher(by, 0).weights(operands);
        assertThat(merge(none, fisher[0], fisher[1], 10, 20))
            .isCloseTo(merge(small, fisher[0], fisher[1], 10, 20), within(1e-12));
      }
    }
    // Both zero at one element, but not everywhere: the norms still weigh.
    List<Weight> weights = new DiagonalFisher(Normalization.MODEL, 0).weights(operands(1, 1, 1, 4));
    assertThat(merge(weights, 0, 0, 10, 20))
        .isCloseTo((10 + 20 / 4.0) / (1 + 1 / 4.0), within(1e-12));
  }

  @Test
  void theBaseIsReadWhereItHasAShare() {
    Path base = Path.of("base");
    List<MergeSource> models = List.of(MergeSource.of(Path.of("a")), MergeSource.of(Path.of("b")));
    DiagonalFisher scaled = new DiagonalFisher(Normalization.MODEL, 0, 0.25);
    assertThat(DiagonalFisher.DEFAULT.operands(base, models)).isEqualTo(models);
    List<MergeSource> operands = scaled.operands(base, models);
    assertThat(operands).hasSize(3).last().isEqualTo(MergeSource.of(base).withCoefficient(0.75));
    assertThat(scaled.weighted(operands)).isEqualTo(models);
    assertThat(scaled.settings().orElseThrow()).contains("scaling factor 0.25");
  }

  @Test
  void sharesSumToOne() {
    DiagonalFisher unlimited = new DiagonalFisher(Normalization.MODEL, 0);
    assertThat(UNNORMALISED.shares(operands(1, 3, 1, 7))).containsExactly(0.25, 0.75);
    assertThat(unlimited.shares(operands(1, 1, 1, 3))).containsExactly(0.75, 0.25);
    assertThat(unlimited.shares(operands(1, 1, 0, 3))).containsExactly(1.0, 0.0);
    assertThat(unlimited.shares(operands(0, 1, 0, 3))).containsExactly(0.0, 1.0);
  }

  private static double merge(
      List<Weight> weights, double f0, double f1, double theta0, double theta1) {
    double w0 = weights.get(0).scale() * f0 + weights.get(0).offset();
    double w1 = weights.get(1).scale() * f1 + weights.get(1).offset();
    return (w0 * theta0 + w1 * theta1) / (w0 + w1);
  }
}
