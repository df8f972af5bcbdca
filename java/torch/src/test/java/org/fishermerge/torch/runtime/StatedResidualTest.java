package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.KroneckerFisher.Tolerance;
import org.fishermerge.merge.LayerRule;
import org.fishermerge.merge.LayerRule.LayerOperand;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Residuals that are stated, against those of the solutions, computed in double. */
final class StatedResidualTest {
  private static final long SEED = 29;
  private static final int MODELS = 3;

  private final LinearAlgebra algebra = new LibTorchAlgebra();

  @ParameterizedTest
  @CsvSource({
    "171, 99, 1e-6, 0.01, false, 1e-6", // in double
    "171, 99, 1e-12, 0.01, false, 1e-3",
    "413, 407, 0.02, 0.01, true, 1e-5", // in single precision
    "407, 413, 1e-3, 0, true, 1e-4",
  })
  void areThoseOfTheSolutions(
      int outputs,
      int inputs,
      double tolerance,
      double damping,
      boolean single,
      double relativeDifference) {
    KroneckerFisher rule =
        new KroneckerFisher(
            damping,
            KroneckerFisher.Scale.NONE,
            Tolerance.ofAll(tolerance),
            KroneckerFisher.DEFAULT_ITERATIONS,
            new Average(),
            1);
    LinearLayer layer = new LinearLayer(outputs, inputs, false, 1);
    assertThat(rule.inSingle(layer)).isEqualTo(single);
    algebra.run(() -> {
      LinearAlgebra own = single ? algebra.inSingle() : algebra;
      LayerRule.Solution solution = rule.solve(layer, operands(rule, layer, own), own);
      Matrix merged = inDouble(solution.weight(), own);
      // In double from here on; of what the solver had, up to rounding to F32.
      List<LayerOperand> operands = operands(rule, layer, algebra);
      Matrix average = algebra.zeros(outputs, inputs);
      double all = operands.stream().mapToDouble(LayerOperand::coefficient).sum();
      operands.forEach(o -> algebra.add(average, o.coefficient() / all, o.weight()));
      for (LayerOperand operand : operands) {
        for (Matrix factor : operand.factors()) {
          algebra.addToDiagonal(factor, damping * algebra.trace(factor) / factor.rows());
        }
      }
      double wanted = norm(gradient(merged, operands)) / norm(gradient(average, operands));
      assertThat(solution.residual())
          .as("seed %d", SEED)
          .isCloseTo(wanted, within(relativeDifference * wanted))
          .isLessThan(tolerance);
    });
  }

  private static List<LayerOperand> operands(LayerRule rule, LinearLayer layer, LinearAlgebra own) {
    return RandomMatrices.operands(rule, layer, MODELS, own, new Random(SEED));
  }

  /** sum_i c_i G_i (w - W_i) A_i. */
  private Matrix gradient(Matrix w, List<LayerOperand> operands) {
    Matrix sum = algebra.zeros(w.rows(), w.columns());
    for (LayerOperand operand : operands) {
      Matrix difference = algebra.zeros(w.rows(), w.columns());
      algebra.add(difference, 1, w);
      algebra.add(difference, -1, operand.weight());
      algebra.addProduct(
          sum,
          operand.coefficient(),
          operand.factors().get(1),
          algebra.product(difference, operand.factors().get(0)));
    }
    return sum;
  }

  private double norm(Matrix a) {
    return Math.sqrt(algebra.dot(a, a));
  }

  private Matrix inDouble(Matrix a, LinearAlgebra own) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment values = arena.allocate(a.rows() * a.columns() * Double.BYTES, Double.BYTES);
      own.read(a, values);
      return algebra.of(values, ElementType.F64, a.rows(), a.columns());
    }
  }
}
