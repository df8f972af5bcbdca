package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.LayerVisitor;
import org.jspecify.annotations.Nullable;

/**
 * A batch that has run forward and can be pulled back, any number of times, until it is closed or
 * its last backward pass is over.
 */
public abstract class ForwardPass implements AutoCloseable {
  private final float[] logits;
  private final int examples;

  /**
   * @param logits row-major [examples, K]
   */
  protected ForwardPass(float[] logits, int examples) {
    this.logits = logits;
    this.examples = examples;
  }

  final float[] logits() {
    return logits;
  }

  final int examples() {
    return examples;
  }

  /** The class probabilities of those examples whose logits are finite, [examples][K]. */
  public final List<double[]> predictions() {
    int classes = logits.length / examples;
    List<double[]> predictions = new ArrayList<>();
    for (int b = 0; b < examples; b++) {
      double[] p = Logits.probabilities(logits, b, classes);
      if (Arrays.stream(p).allMatch(Double::isFinite)) {
        predictions.add(p);
      }
    }
    return predictions;
  }

  /** The largest activation that one probe of the whole batch takes on its way back, in bytes. */
  public abstract long bytesPerProbe();

  /**
   * Whether {@link #backward} takes a part of the examples; if not, cotangents of zero stand for
   * those that have none.
   */
  public boolean takesSomeExamples() {
    return true;
  }

  /**
   * Pulls V cotangents of the logits of some examples back, and shows every layer on the way.
   *
   * @param logitCotangents [V, n, K]; borrowed
   * @param examples which of the pass's examples these are, int64 [n], rising; null for all
   * @param last whether the saved activations may be freed on the way
   */
  public abstract void backward(
      Tensor logitCotangents, @Nullable Tensor examples, LayerVisitor visitor, boolean last);

  @Override
  public abstract void close();
}
