package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.objective.Logits;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * A batch that has run forward and can be pulled back, any number of times, until it is closed or
 * its last backward pass is over.
 */
public abstract class ForwardPass implements AutoCloseable {
  /**
   * What is wanted of a forward pass besides its logits.
   *
   * @param backward whether it will be pulled back
   * @param inputs is shown the inputs of linear layers while the pass runs, as {@link
   *     org.fishermerge.torch.nn.LayerVisit.Input}; null if nobody is
   */
  public record Wanted(boolean backward, @Nullable LayerVisitor inputs) {
    /** Nothing else. */
    public static final Wanted LOGITS = new Wanted(false, null);

    /** Backward passes. */
    public static final Wanted BACKWARD = new Wanted(true, null);
  }

  /** A batch that can be run. */
  @FunctionalInterface
  public interface Source {
    /**
     * Runs it forward.
     *
     * @return to be closed by the caller
     */
    ForwardPass forward(Wanted wanted);
  }

  private final Tensor logits;

  /**
   * A pass over a batch.
   *
   * @param logits [examples, K], fp32, on the device that they were computed on; retained by the
   *     caller, closed with the pass
   */
  protected ForwardPass(Tensor logits) {
    this.logits = logits;
  }

  final Tensor logits() {
    return logits;
  }

  final int examples() {
    return Math.toIntExact(logits.size(0));
  }

  /**
   * The class probabilities of those examples whose logits are finite, [examples][K], in the
   * process's memory: for the few examples that a rule is fitted to, and that name a run.
   */
  public final List<double[]> predictions() {
    try (PointerScope scope = new PointerScope()) {
      double[] all = Tensors.doubles(Logits.probabilities(logits));
      int classes = Math.toIntExact(logits.size(1));
      List<double[]> predictions = new ArrayList<>();
      for (int b = 0; b < examples(); b++) {
        double[] p = Arrays.copyOfRange(all, b * classes, (b + 1) * classes);
        if (Arrays.stream(p).allMatch(Double::isFinite)) {
          predictions.add(p);
        }
      }
      return predictions;
    }
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
   * Which of the tokens that layers see are no padding, fp32 [B, T] of ones and zeros; null where
   * all are real.
   */
  public @Nullable Tensor realTokens() {
    return null;
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
  public void close() {
    logits.close();
  }
}
