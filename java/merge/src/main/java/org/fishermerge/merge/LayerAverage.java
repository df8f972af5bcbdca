package org.fishermerge.merge;

import java.util.List;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/** The average of the models' weights: where a layer's search begins, or ends for lack of data. */
final class LayerAverage {
  private LayerAverage() {}

  static Matrix of(List<LayerRule.LayerOperand> operands, LinearAlgebra algebra) {
    double sum = operands.stream().mapToDouble(LayerRule.LayerOperand::coefficient).sum();
    Matrix first = operands.getFirst().weight();
    Matrix average = algebra.zeros(first.rows(), first.columns());
    for (LayerRule.LayerOperand operand : operands) {
      algebra.add(average, operand.coefficient() / sum, operand.weight());
    }
    return average;
  }
}
