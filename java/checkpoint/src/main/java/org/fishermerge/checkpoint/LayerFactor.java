package org.fishermerge.checkpoint;

import java.util.Arrays;
import java.util.Optional;

/**
 * A symmetric matrix that a statistic file holds of a linear layer. It is stored as its lower
 * triangle, row by row, F32 [n (n + 1) / 2], under the name of the layer's weight with {@code
 * weight} replaced by the factor's suffix.
 */
public enum LayerFactor {
  /** [I, I], over all tokens. */
  GRAM("gram"),

  /** [I, I], over the tokens on whose output the logits depend. */
  INPUTS("kron_a"),

  /** [O, O], over the same tokens. */
  GRADIENTS("kron_g");

  private static final String WEIGHT = "weight";

  private final String suffix;

  LayerFactor(String suffix) {
    this.suffix = suffix;
  }

  /** The name of its tensor, for a layer whose weight has that name. */
  public String tensorName(String weight) {
    String layer = weight.endsWith("." + WEIGHT) ? stem(weight) : weight + ".";
    return layer + suffix;
  }

  /** The factor that a tensor of that name is; empty if it is none. */
  public static Optional<LayerFactor> ofTensor(String name) {
    return Arrays.stream(values()).filter(factor -> name.endsWith("." + factor.suffix)).findFirst();
  }

  private static String stem(String weight) {
    return weight.substring(0, weight.length() - WEIGHT.length());
  }

  /** Rows and columns of the matrix. */
  public long size(LinearLayer layer) {
    return this == GRADIENTS ? layer.outputs() : layer.inputs();
  }

  /** Values of it that a file holds of a layer. */
  public long storedValues(LinearLayer layer) {
    return triangle(size(layer));
  }

  /** Elements of the stored triangle of n rows. */
  public static long triangle(long n) {
    return Math.multiplyExact(n, n + 1) / 2;
  }
}
