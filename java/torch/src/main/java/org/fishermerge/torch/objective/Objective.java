package org.fishermerge.torch.objective;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * What a model's outputs are asked for: turns the logits of a batch into cotangents ("probes") that
 * are pulled back through the model. An estimate is the sum over probes of the squared gradients
 * that they give.
 *
 * <p>Logits stay where the model left them: cotangents are computed by libtorch on that device, and
 * a few numbers an example, such as how many probes it has, are all that the process reads of them.
 *
 * <p>Immutable and thread-safe.
 */
public interface Objective {
  /** The name and parameters, as given on the command line and kept in Fisher files. */
  String text();

  /** The most probes that an example takes whose logits are over K classes. */
  int mostProbes(int classes);

  /**
   * The probes of a batch.
   *
   * @param logits [B, ...], for class labels [B, K]; finite, of any floating dtype; borrowed
   * @return on the logits' device, in the caller's pointer scope
   */
  Probes probes(Tensor logits, BatchExamples examples);

  /** A factor of the squares that this objective asks for, applied once at the end. */
  default double weight() {
    return 1;
  }

  /** Whether each example's own label is needed. */
  default boolean needsLabels() {
    return false;
  }

  /** Whether gradients are summed over the batch before squaring. */
  default boolean squaresBatches() {
    return false;
  }

  /** Predictions of how many examples {@link #calibrated} wants to see before the run. */
  default int calibrationExamples() {
    return 0;
  }

  /**
   * This objective, fitted to the model that it will be used on.
   *
   * @param predictions class probabilities of the first {@link #calibrationExamples} examples of
   *     the run, or of all where there are fewer, [examples][K]
   */
  default Objective calibrated(List<double[]> predictions) {
    return this;
  }

  /** That of estimates without backward passes, which ask nothing of outputs. */
  static Objective none() {
    return new NoObjective();
  }

  /**
   * Reads a rule for labels, see {@link LabelRule#parse}.
   *
   * @throws org.fishermerge.checkpoint.InputException if there is no such rule
   */
  static Objective parse(String text) {
    return LabelRule.parse(text);
  }
}
