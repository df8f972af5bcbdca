package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.LayerParameters.Stacked;

/**
 * CLIP's text tower and text projection, for building zero-shot heads. Inference only.
 *
 * <p>A head is built as FusionBench builds it: every prompt of a class through the tower,
 * projected, scaled to unit length; the mean over the class's prompts, scaled to unit length again.
 */
public final class ClipTextTower implements AutoCloseable {
  // transformers: configurations older than v4.34 carry a wrong end-of-text id, 2; for them the
  // end-of-text position is that of the largest id.
  private static final int LEGACY_END_OF_TEXT = 2;

  private final ClipConfig.Text config;
  private final LayerParameters parameters;
  private final Stacked tokenEmbedding;
  private final Stacked positionEmbedding;
  private final List<TransformerBlock> blocks = new ArrayList<>();
  private final LayerNorm finalNorm;
  private final Stacked projection;

  private ClipTextTower(ClipConfig.Text config, LayerParameters parameters, Checkpoint checkpoint) {
    this.config = config;
    this.parameters = parameters;
    ClipConfig.Tower tower = config.tower();
    long width = tower.width();
    tokenEmbedding =
        parameters.read("text_model.embeddings.token_embedding.weight", config.vocabulary(), width);
    positionEmbedding =
        parameters.read(
            "text_model.embeddings.position_embedding.weight", config.maxPositions(), width);
    for (int i = 0; i < tower.layers(); i++) {
      blocks.add(
          TransformerBlock.readClip(parameters, "text_model.encoder.layers." + i, tower, null));
    }
    finalNorm = LayerNorm.read(parameters, "text_model.final_layer_norm", width, tower.epsilon());
    long projected = checkpoint.tensor("text_projection.weight").info().shape().get(0);
    projection = parameters.read("text_projection.weight", projected, width);
  }

  /** Reads the text tower of a CLIPModel folder. */
  public static ClipTextTower load(Checkpoint clip) {
    ClipConfig.Text config =
        ClipConfig.of(clip)
            .text()
            .orElseThrow(() ->
                new InputException(
                    clip.path()
                        + ": holds a vision tower alone; building a head from class names needs"
                        + " the whole CLIP model (model_type clip)"));
    LibTorch.initialize();
    LayerParameters parameters = new LayerParameters(clip);
    try {
      return new ClipTextTower(config, parameters, clip);
    } catch (RuntimeException | Error e) {
      parameters.close();
      throw e;
    }
  }

  /** Most tokens of a prompt. */
  public int maxTokens() {
    return config.maxPositions();
  }

  /** Width of a projected prompt. */
  public int projectedWidth() {
    return Math.toIntExact(projection.tensor().size(0));
  }

  /**
   * One class's row of the zero-shot head.
   *
   * @param prompts token ids [prompts][tokens] of the class name in every template, padded to one
   *     length on the right; padding is never looked at, since attention is causal
   * @return a unit-length vector of {@link #projectedWidth()} values
   */
  public float[] classRow(long[][] prompts) {
    // Heads are kept and shared: they do not depend on what the towers run in.
    return LibTorch.exactly(() -> {
      try (PointerScope scope = new PointerScope()) {
        Tensor features = features(prompts);
        Tensor unit = unit(features);
        return Tensors.floats(unit(unit.mean(0).unsqueeze(0)));
      }
    });
  }

  private Tensor features(long[][] prompts) {
    int examples = prompts.length;
    int tokens = prompts[0].length;
    long width = config.tower().width();
    if (tokens > config.maxPositions()) {
      throw new InputException(
          "a prompt has " + tokens + " tokens; the text tower takes " + config.maxPositions());
    }
    Tensor x = Tensors.copyOf(new float[examples * tokens * (int) width], examples, tokens, width);
    for (int b = 0; b < examples; b++) {
      for (int t = 0; t < tokens; t++) {
        long id = prompts[b][t];
        if (id < 0 || id >= config.vocabulary()) {
          throw new InputException(
              "token id "
                  + id
                  + " lies outside the text tower's "
                  + config.vocabulary()
                  + " embeddings; the tokenizer belongs to another model");
        }
        x.select(0, b).select(0, t).copy_(tokenEmbedding.tensor().select(0, id));
      }
    }
    x.add_(positionEmbedding.tensor().narrow(0, 0, tokens));
    Tensor hidden = Tensors.retain(x);
    Tensor mask = LibTorch.onDevice(TransformerBlock.causalMask(tokens));
    for (TransformerBlock block : blocks) {
      Tensor next = block.forward(hidden, mask, null);
      hidden.close();
      hidden = next;
    }
    Tensor pooled = Tensors.copyOf(new float[examples * (int) width], examples, width);
    for (int b = 0; b < examples; b++) {
      pooled.select(0, b).copy_(hidden.select(0, b).select(0, endOfText(prompts[b])));
    }
    hidden.close();
    Tensor normed = finalNorm.forward(pooled.unsqueeze(1)).value().squeeze(1);
    return normed.matmul(projection.tensor().t());
  }

  private int endOfText(long[] ids) {
    if (config.endOfText() == LEGACY_END_OF_TEXT) {
      int best = 0;
      for (int t = 1; t < ids.length; t++) {
        if (ids[t] > ids[best]) {
          best = t;
        }
      }
      return best;
    }
    for (int t = 0; t < ids.length; t++) {
      if (ids[t] == config.endOfText()) {
        return t;
      }
    }
    throw new InputException(
        "a prompt has no end-of-text token "
            + config.endOfText()
            + "; the tokenizer does not"
            + " belong to this CLIP model");
  }

  private static Tensor unit(Tensor rows) {
    Tensor norms = rows.mul(rows).sum(new long[] {-1}, true, new ScalarTypeOptional()).sqrt_();
    return rows.div(norms);
  }

  @Override
  public void close() {
    parameters.close();
  }
}
