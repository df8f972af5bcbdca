package org.fishermerge.torch.arch;

import static org.fishermerge.torch.runtime.Reproducible.matmul;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.Tape;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * CLIP's frozen classifier: {@code f = projection * pooled; logits = exp(logit_scale) * W f /
 * ||f||}, with the visual projection and the logit scale of the base CLIP and one unit-length row
 * of W per class. No epsilon in the norm, as in transformers.
 */
public final class ZeroShotHead implements Layer, AutoCloseable {
  private final Tensor projection; // [P, D]
  private final Tensor classes; // [K, P]
  private final double scale;

  private ZeroShotHead(Tensor projection, Tensor classes, double scale) {
    this.projection = projection;
    this.classes = classes;
    this.scale = scale;
  }

  /**
   * Joins class rows with the projection and scale of a CLIP model.
   *
   * @param clip a CLIPModel folder with {@code visual_projection.weight} and {@code logit_scale}
   * @param weights the classes' unit-length text features, row-major [classes, width]
   * @param origin names where the weights come from, for error messages
   */
  public static ZeroShotHead of(Checkpoint clip, float[] weights, int classCount, String origin) {
    LibTorch.initialize();
    if (classCount < 2) {
      throw new InputException(
          origin + ": " + classCount + " class; a classifier needs at least two");
    }
    var stored = clip.tensor("visual_projection.weight");
    long width = stored.info().shape().get(0);
    long features = stored.info().shape().get(1);
    if (weights.length != classCount * width) {
      throw new InputException(
          origin
              + ": class rows are "
              + weights.length / classCount
              + " wide, but visual_projection.weight of "
              + stored.file()
              + " projects to "
              + width
              + "; take heads and --clip from the same CLIP model");
    }
    return of(
        clip.floats("visual_projection.weight"),
        Math.toIntExact(features),
        Math.exp(clip.floats("logit_scale")[0]),
        weights,
        classCount);
  }

  /**
   * A head from its parts.
   *
   * @param projection row-major [width, features]
   * @param scale what unit-length similarities are multiplied by, exp(logit_scale)
   * @param weights row-major [classCount, width]
   */
  public static ZeroShotHead of(
      float[] projection, int features, double scale, float[] weights, int classCount) {
    LibTorch.initialize();
    long width = projection.length / features;
    return new ZeroShotHead(
        Tensors.onlyResultOf(() -> Tensors.copyOf(projection, width, features)),
        Tensors.onlyResultOf(() -> Tensors.copyOf(weights, classCount, width)),
        scale);
  }

  /** Classes K. */
  public int classCount() {
    return Math.toIntExact(classes.size(0));
  }

  /** The class rows, row-major [K, P]. */
  public float[] weights() {
    return Tensors.floats(classes);
  }

  /** The width D of the pooled features that it takes. */
  public int featureWidth() {
    return Math.toIntExact(projection.size(1));
  }

  Tensor projection() {
    return projection;
  }

  Tensor classRows() {
    return classes;
  }

  double scale() {
    return scale;
  }

  /** Logits [B, 1, K] of pooled features [B, 1, D]. */
  @Override
  public Tensor forward(Tensor pooled, Tape tape) {
    Tensor features = matmul(pooled.squeeze(1), projection.t());
    Tensor norms =
        features.mul(features).sum(new long[] {-1}, true, new ScalarTypeOptional()).sqrt_();
    Tensor unit = features.div_(norms);
    tape.save(unit, norms);
    return matmul(unit, classes.t()).mul_(new Scalar(scale)).unsqueeze(1);
  }

  /** The cotangent of the pooled features, [V, B, 1, D]; shows nothing, for the head is frozen. */
  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor[] saved = tape.read();
    Tensor unit = saved[0]; // [B, P]
    Tensor norms = saved[1]; // [B, 1]
    Tensor g = matmul(cotangent.squeeze(2), classes).mul_(new Scalar(scale)); // [V, B, P]
    // d(f/|f|): the part along f vanishes, the rest shrinks by |f|.
    Tensor along = g.mul(unit).sum(new long[] {-1}, true, new ScalarTypeOptional());
    g.addcmul_(along, unit, new Scalar(-1.0)).div_(norms);
    return matmul(g, projection).unsqueeze(2);
  }

  @Override
  public void close() {
    projection.close();
    classes.close();
  }
}
