package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;

import org.fishermerge.merge.LayerRule.Solution;
import org.junit.jupiter.api.Test;

final class ResidualsTest {
  private final Residuals residuals = new Residuals();

  private void add(String layer, double residual, double wanted, int iterations) {
    residuals.add(
        layer, new Solution(new PlainAlgebra().zeros(1, 1), residual, wanted, iterations));
  }

  @Test
  void nothingIsSaidOfLayersThatAreSolved() {
    assertThat(residuals.largest()).isZero();
    add("direct", 0, 0, 0);
    add("large", 0.019, 0.02, 5);
    add("small", 1e-6, 1e-6, 40);
    assertThat(residuals.warning()).isEmpty();
    assertThat(residuals.largest()).isEqualTo(0.019);
    assertThat(residuals.iterations()).isEqualTo(45);
  }

  /** A small layer that is not, though a large one's residual, within its own bound, is larger. */
  @Test
  void aLayerIsMeasuredByItsOwnTolerance() {
    add("before", 0.015, 0.02, 4);
    add("small", 3e-6, 1e-6, 500);
    add("after", 0.018, 0.02, 5);
    assertThat(residuals.warning())
        .hasValue(
            "the system of 'small' was solved to a residual of 3.0e-06 in 500 iterations, where"
                + " 1.0e-06 was wanted; a larger --damping makes it easier");
    assertThat(residuals.largest()).isEqualTo(0.018);
  }

  /** Of several the one that misses by the largest factor is named, in any order. */
  @Test
  void theWorstIsNamed() {
    add("first", 0.04, 0.02, 500);
    add("small", 5e-6, 1e-6, 500);
    add("solved", 1e-7, 1e-6, 30);
    add("other", 0.06, 0.02, 500);
    assertThat(residuals.warning().orElseThrow())
        .contains("'small'", "5.0e-06 in 500", "3 of 4 layers")
        .doesNotContain("first", "other");
  }
}
