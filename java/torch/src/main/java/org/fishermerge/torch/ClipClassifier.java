package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * An image tower under a zero-shot head. Borrows both; not thread-safe.
 *
 * @param tower the tower whose parameters are studied or scored
 * @param head the frozen classifier
 */
public record ClipClassifier(ClipVisionTower tower, ZeroShotHead head) implements Classifier {
  /** Checks that the head fits the tower. */
  public ClipClassifier {
    int width = tower.config().tower().width();
    if (head.featureWidth() != width) {
      throw new InputException(
          "the model's pooled features are "
              + width
              + " wide but the visual projection of --clip takes "
              + head.featureWidth()
              + "; name the CLIP model that this one was fine-tuned from");
    }
  }

  /**
   * Class logits, row-major [examples, K].
   *
   * @param pixels fp32 [examples, C, H, W], off-heap or on-heap, preprocessed for this model
   * @throws InputException if a logit is not finite
   */
  public float[] logits(MemorySegment pixels, int examples) {
    LibTorch.initialize();
    Tensor pooled = tower.forward(pixels, examples, null);
    Tensor logits = head.forward(pooled, null);
    pooled.close();
    float[] values = Tensors.floats(logits);
    logits.close();
    return values;
  }

  @Override
  public int classCount() {
    return head.classCount();
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return tower.parameterGroups();
  }

  /**
   * Runs a batch and keeps its activations.
   *
   * @param pixels fp32 [examples, C, H, W], preprocessed for this model
   * @return to be closed by the caller
   */
  public ForwardPass forward(MemorySegment pixels, int examples) {
    LibTorch.initialize();
    ClipVisionTower.Tape towerTape = new ClipVisionTower.Tape();
    ZeroShotHead.Tape headTape = new ZeroShotHead.Tape();
    try {
      Tensor pooled = tower.forward(pixels, examples, towerTape);
      Tensor logits = head.forward(pooled, headTape);
      pooled.close();
      float[] values = Tensors.floats(logits);
      logits.close();
      return new Pass(values, examples, towerTape, headTape);
    } catch (RuntimeException | Error e) {
      towerTape.close();
      headTape.close();
      throw e;
    }
  }

  private final class Pass extends ForwardPass {
    private final ClipVisionTower.Tape towerTape;
    private final ZeroShotHead.Tape headTape;

    Pass(float[] logits, int examples, ClipVisionTower.Tape towerTape, ZeroShotHead.Tape headTape) {
      super(logits, examples);
      this.towerTape = towerTape;
      this.headTape = headTape;
    }

    @Override
    long bytesPerProbe() {
      ClipConfig.Vision config = tower.config();
      return (long) examples() * config.tokens() * config.tower().mlpWidth() * Float.BYTES;
    }

    @Override
    void backward(
        Tensor logitCotangents, @Nullable Tensor examples, FisherAccumulator fisher, boolean last) {
      Tensor pooled = head.backward(logitCotangents, examples, headTape);
      tower.backward(pooled, examples, towerTape, fisher, last);
      pooled.close();
    }

    @Override
    public void close() {
      towerTape.close();
      headTape.close();
    }
  }
}
