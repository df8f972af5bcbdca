package org.fishermerge.torch.runtime;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.LayerRule;
import org.fishermerge.merge.LayerRule.LayerOperand;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/** What layers are solved from, made up. */
final class RandomMatrices {
  private RandomMatrices() {}

  /** Values between -1 and 1. */
  static Matrix uniform(LinearAlgebra algebra, Random random, int rows, int columns) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment values =
          arena.allocateFrom(
              ValueLayout.JAVA_DOUBLE, random.doubles((long) rows * columns, -1, 1).toArray());
      return algebra.of(values, ElementType.F64, rows, columns);
    }
  }

  /** X X^T / n of n / 2 columns, over a floor. */
  static Matrix factor(LinearAlgebra algebra, Random random, int n) {
    Matrix root = uniform(algebra, random, n, n / 2);
    Matrix square = algebra.zeros(n, n);
    algebra.addProduct(square, 1.0 / n, root, algebra.transposed(root));
    algebra.addToDiagonal(square, 0.05);
    return square;
  }

  /** Models 1, 2, ... with such coefficients. */
  static List<LayerOperand> operands(
      LayerRule rule, LinearLayer layer, int models, LinearAlgebra algebra, Random random) {
    List<LayerOperand> operands = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      List<Matrix> factors = new ArrayList<>();
      rule.factors().forEach(f -> factors.add(factor(algebra, random, (int) f.size(layer))));
      Matrix weight = uniform(algebra, random, (int) layer.outputs(), (int) layer.inputs());
      operands.add(new LayerOperand(1 + i, 1, weight, factors));
    }
    return operands;
  }
}
