package org.fishermerge.torch.arch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.nn.Counting;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.OutputTokens;
import org.fishermerge.torch.nn.Sequential;
import org.fishermerge.torch.nn.Tape;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.nn.TokenEmbedding;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * CLIP's text tower and text projection, for building zero-shot heads. Inference only.
 *
 * <p>A head is built as FusionBench builds it: every prompt of a class through the tower,
 * projected, scaled to unit length; the mean over the class's prompts, scaled to unit length again.
 */
public final class ClipTextTower implements AutoCloseable {
  private static final String PROJECTION = "text_projection.weight";

  // transformers: configurations older than v4.34 carry a wrong end-of-text id, 2; for them the
  // end-of-text position is that of the largest id.
  private static final int LEGACY_END_OF_TEXT = 2;

  // Tokens of a batch of prompts: more make matrix products no faster, and need more memory.
  private static final int BATCH_TOKENS = 4096;

  private final ClipConfig.Text config;
  private final Network<TokenBatch> network; // to the projected features, [B, 1, P]
  private final int projectedWidth;

  private ClipTextTower(ClipConfig.Text config, Network<TokenBatch> network, int projectedWidth) {
    this.config = config;
    this.network = network;
    this.projectedWidth = projectedWidth;
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
    long projected = clip.tensor(PROJECTION).info().shape().getFirst();
    return new ClipTextTower(
        config,
        Weights.load(clip, torch.ScalarType.Float, weights -> network(config, projected, weights)),
        Math.toIntExact(projected));
  }

  private static Network<TokenBatch> network(
      ClipConfig.Text config, long projected, Weights weights) {
    ClipConfig.Tower tower = config.tower();
    long width = tower.width();
    TokenEmbedding embeddings =
        new TokenEmbedding(
            weights.read(
                "text_model.embeddings.token_embedding.weight", config.vocabulary(), width),
            OptionalLong.empty(),
            weights.read(
                "text_model.embeddings.position_embedding.weight", config.maxPositions(), width),
            Counting.ALL,
            null,
            true);
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < tower.layers(); i++) {
      // Only the token that ends a prompt is used.
      OutputTokens output = i == tower.layers() - 1 ? OutputTokens.LAST : OutputTokens.ALL;
      layers.add(ClipVisionTower.block(weights, "text_model.encoder.layers." + i, tower, output));
    }
    layers.add(LayerNorm.read(weights, "text_model.final_layer_norm", width, tower.epsilon()));
    layers.add(new Linear(weights.matrix(PROJECTION, projected, width), null, false));
    return new Network<>(weights, embeddings, new Sequential(layers));
  }

  /** Most tokens of a prompt. */
  public int maxTokens() {
    return config.maxPositions();
  }

  /** Width of a projected prompt. */
  public int projectedWidth() {
    return projectedWidth;
  }

  /**
   * Rows of the zero-shot head. The prompts of all classes run together, those of about one length
   * in a batch: the few of one class would leave a matrix product half empty.
   *
   * @param classes token ids [classes][prompts][tokens] of every class's name in every template,
   *     padded on the right or not: attention is causal, so nothing after a prompt's end is looked
   *     at
   * @return row-major [classes, {@link #projectedWidth()}], each row of unit length
   */
  public float[] classRows(List<long[][]> classes) {
    List<Prompt> prompts = new ArrayList<>();
    for (int c = 0; c < classes.size(); c++) {
      for (long[] ids : classes.get(c)) {
        prompts.add(new Prompt(c, ids, endOfText(ids) + 1));
      }
    }
    prompts.sort(Comparator.comparingInt(Prompt::length).reversed());
    double[][] sums = new double[classes.size()][projectedWidth()];
    for (int first = 0; first < prompts.size(); ) {
      int together = Math.max(1, BATCH_TOKENS / prompts.get(first).length());
      List<Prompt> batch = prompts.subList(first, Math.min(prompts.size(), first + together));
      addUnitFeatures(batch, sums);
      first += batch.size();
    }
    float[] rows = new float[classes.size() * projectedWidth()];
    for (int c = 0; c < sums.length; c++) {
      double squares = 0;
      for (double value : sums[c]) {
        squares += value * value;
      }
      for (int i = 0; i < sums[c].length; i++) {
        rows[c * projectedWidth() + i] = (float) (sums[c][i] / Math.sqrt(squares));
      }
    }
    return rows;
  }

  /** A prompt of a class; its first {@code length} tokens count, the last of them ends the text. */
  private record Prompt(int ofClass, long[] ids, int length) {}

  private void addUnitFeatures(List<Prompt> batch, double[][] sums) {
    // Heads are kept and shared: they do not depend on what the towers run in.
    float[] unit =
        LibTorch.exactly(() -> {
          try (PointerScope scope = new PointerScope()) {
            return Tensors.floats(unit(features(batch)));
          }
        });
    for (int b = 0; b < batch.size(); b++) {
      double[] sum = sums[batch.get(b).ofClass()];
      for (int i = 0; i < sum.length; i++) {
        sum[i] += unit[b * sum.length + i];
      }
    }
  }

  private Tensor features(List<Prompt> batch) {
    TokenBatch texts =
        TokenBatch.of(
            batch.stream().map(prompt -> Arrays.copyOf(prompt.ids(), prompt.length())).toList());
    return network.forward(texts, Tape.inference()).squeeze(1);
  }

  /** The place of the token that ends a prompt, after all of its ids were found to have meaning. */
  private int endOfText(long[] ids) {
    int end = findEnd(ids);
    if (end >= config.maxPositions()) {
      throw new InputException(
          "a prompt has " + (end + 1) + " tokens; the text tower takes " + config.maxPositions());
    }
    for (int t = 0; t <= end; t++) {
      if (ids[t] < 0 || ids[t] >= config.vocabulary()) {
        throw new InputException(
            "token id "
                + ids[t]
                + " lies outside the text tower's "
                + config.vocabulary()
                + " embeddings; the tokenizer belongs to another model");
      }
    }
    return end;
  }

  private int findEnd(long[] ids) {
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
    network.close();
  }
}
