package org.fishermerge.torch;

import java.util.List;
import java.util.function.LongUnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.objective.Logits;
import org.fishermerge.torch.runtime.Tensors;

/**
 * The divergence of a model's predictions q from those of another model, p, on the same example:
 * KL(p || q) = sum_k p_k (log p_k - log q_k), in nats. Its second derivative by the weights, where
 * q is p, is the Fisher information.
 */
public final class Divergence {
  private Divergence() {}

  /**
   * The class probabilities of each example of a batch, [B][K].
   *
   * @param nameOf what a message calls the example at a place of the batch
   * @throws org.fishermerge.checkpoint.InputException if a logit is not finite
   */
  public static List<double[]> predictions(ForwardPass pass, LongUnaryOperator nameOf) {
    try (PointerScope scope = new PointerScope()) {
      Logits.requireFinite(pass.logits(), nameOf);
    }
    return pass.predictions();
  }

  /**
   * The divergence of each example of a batch, [B]. One whose logits are not finite is infinite.
   *
   * @param targets p, [B][K] row by row
   */
  public static double[] of(ForwardPass pass, double[] targets) {
    try (PointerScope scope = new PointerScope()) {
      return values(target(pass, targets), pass.logits());
    }
  }

  /**
   * The same, and pulls the derivative of their weighted sum back through the model.
   *
   * @param weight of each example
   * @param visitor is shown every layer, with one cotangent per example
   */
  public static double[] pullBack(
      ForwardPass pass, double[] targets, double weight, LayerVisitor visitor) {
    try (PointerScope scope = new PointerScope()) {
      Tensor target = target(pass, targets);
      Tensor cotangents =
          Logits.probabilities(pass.logits())
              .sub_(target)
              .mul_(new Scalar(weight))
              .to(ScalarType.Float)
              .unsqueeze(0);
      double[] values = values(target, pass.logits());
      pass.backward(cotangents, null, visitor, true);
      return values;
    }
  }

  private static Tensor target(ForwardPass pass, double[] targets) {
    return Tensors.copyOf(targets, pass.examples(), pass.logits().size(1));
  }

  private static double[] values(Tensor target, Tensor logits) {
    Tensor log = torch.log_softmax(logits, 1, new ScalarTypeOptional(ScalarType.Double));
    // xlogy is 0 where p is 0.
    Tensor each = torch.xlogy(target, target).sub_(target.mul(log));
    double[] values = Tensors.doubles(each.sum(new long[] {1}, false, new ScalarTypeOptional()));
    for (int b = 0; b < values.length; b++) {
      values[b] = Double.isNaN(values[b]) ? Double.POSITIVE_INFINITY : Math.max(0, values[b]);
    }
    return values;
  }
}
