package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.cat;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.torch.LayerParameters.Stacked;
import org.jspecify.annotations.Nullable;

/**
 * CLIP's image tower on libtorch, from pixels to the pooled class token, with a backward pass that
 * accumulates Fisher information. Not thread-safe: a tower belongs to one thread at a time.
 */
public final class ClipVisionTower implements AutoCloseable {
  private final ClipConfig.Vision config;
  private final LayerParameters parameters;
  private final Stacked classEmbedding;
  private final Linear patchEmbedding;
  private final Stacked positionEmbedding;
  private final LayerNorm preNorm;
  private final List<TransformerBlock> blocks = new ArrayList<>();
  private final LayerNorm postNorm;

  private ClipVisionTower(ClipConfig.Vision config, LayerParameters parameters) {
    this.config = config;
    this.parameters = parameters;
    ClipConfig.Tower tower = config.tower();
    long width = tower.width();
    classEmbedding = parameters.read("embeddings.class_embedding", width);
    patchEmbedding =
        new Linear(
            parameters.weight(
                "embeddings.patch_embedding.weight",
                width,
                config.channels(),
                config.patchSize(),
                config.patchSize()),
            null,
            false);
    positionEmbedding =
        parameters.read("embeddings.position_embedding.weight", config.tokens(), width);
    // "layrnorm" is how the published checkpoints spell it.
    preNorm = LayerNorm.read(parameters, "pre_layrnorm", width, tower.epsilon());
    for (int i = 0; i < tower.layers(); i++) {
      // Only the class token of the last block reaches the logits.
      Long outputToken = i == tower.layers() - 1 ? 0L : null;
      blocks.add(TransformerBlock.readClip(parameters, "encoder.layers." + i, tower, outputToken));
    }
    postNorm = LayerNorm.read(parameters, "post_layernorm", width, tower.epsilon());
  }

  /**
   * Reads the image tower of a CLIPVisionModel or CLIPModel folder.
   *
   * @throws org.fishermerge.checkpoint.InputException if config.json or a tensor is missing, or a
   *     shape is not what the configuration implies
   */
  public static ClipVisionTower load(Checkpoint checkpoint) {
    ClipConfig.Vision config = ClipConfig.of(checkpoint).vision();
    LibTorch.initialize();
    LayerParameters parameters = new LayerParameters(checkpoint, LibTorch.productType());
    try {
      return new ClipVisionTower(config, parameters);
    } catch (RuntimeException | Error e) {
      parameters.close();
      throw e;
    }
  }

  /** The tower's shape. */
  public ClipConfig.Vision config() {
    return config;
  }

  List<ParameterGroup> parameterGroups() {
    return parameters.groups();
  }

  /** The saved activations of one forward pass. */
  static final class Tape implements AutoCloseable {
    private @Nullable Tensor patches; // [B, P, C*p*p]
    private LayerNorm.@Nullable Saved preNorm;
    private final List<TransformerBlock.Tape> blocks = new ArrayList<>();
    private LayerNorm.@Nullable Saved postNorm; // of the class token, [B, 1, D]

    @Override
    public void close() {
      if (patches != null) {
        patches.close();
        patches = null;
      }
      if (preNorm != null) {
        preNorm.close();
        preNorm = null;
      }
      blocks.forEach(TransformerBlock.Tape::close);
      blocks.clear();
      if (postNorm != null) {
        postNorm.close();
        postNorm = null;
      }
    }
  }

  /**
   * The pooled class token [B, D] of pictures.
   *
   * @param pixels fp32 [B, C, H, W], H = W = the configuration's image size
   * @param tape keeps what {@link #backward} needs; null for inference
   * @return a tensor that the caller closes
   */
  Tensor forward(MemorySegment pixels, int examples, @Nullable Tape tape) {
    try (PointerScope scope = new PointerScope()) {
      Tensor patches = patches(pixels, examples);
      long width = config.tower().width();
      Tensor classToken = classEmbedding.tensor().view(1, 1, width).expand(examples, 1, width);
      Tensor weight = patchEmbedding.weight().tensor().view(width, -1);
      Tensor embedded =
          Linear.product(patches.flatten(0, 1), weight.t()).view(examples, config.patches(), width);
      Tensor x = cat(new TensorVector(classToken, embedded), 1).add_(positionEmbedding.tensor());
      LayerNorm.Output normed = preNorm.forward(x);
      if (tape != null) {
        tape.close();
        tape.patches = Tensors.retain(patches);
        tape.preNorm = normed.saved().retain();
      }
      Tensor hidden = Tensors.retain(normed.value());
      for (TransformerBlock block : blocks) {
        TransformerBlock.Tape blockTape = null;
        if (tape != null) {
          blockTape = new TransformerBlock.Tape();
          tape.blocks.add(blockTape);
        }
        Tensor next = block.forward(hidden, null, blockTape);
        hidden.close();
        hidden = next;
      }
      LayerNorm.Output pooled = postNorm.forward(hidden);
      if (tape != null) {
        tape.postNorm = pooled.saved().retain();
      }
      Tensor result = Tensors.retain(pooled.value().squeeze(1));
      hidden.close();
      return result;
    }
  }

  /**
   * Accumulates the Fisher information of every parameter for V cotangents of each pooled output,
   * [V, B, D].
   *
   * @param examples which examples of the forward pass these are, int64 [B]; null for all
   * @param last whether the tape may be freed on the way
   */
  void backward(
      Tensor pooledCotangent,
      @Nullable Tensor examples,
      Tape tape,
      FisherAccumulator fisher,
      boolean last) {
    LayerNorm.Saved post = tape.postNorm;
    LayerNorm.Saved pre = tape.preNorm;
    Tensor patches = tape.patches;
    if (post == null || pre == null || patches == null) {
      throw new IllegalStateException("backward without a forward pass");
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor g =
          Tensors.retain(
              postNorm.backward(pooledCotangent.unsqueeze(2), post.of(examples), fisher));
      for (int i = blocks.size() - 1; i >= 0; i--) {
        Tensor previous = blocks.get(i).backward(g, examples, tape.blocks.get(i), fisher);
        g.close();
        g = previous;
        if (last) {
          tape.blocks.get(i).close();
        }
      }
      Tensor embedded = preNorm.backward(g, pre.of(examples), fisher); // [V, B, 1+P, D]
      g.close();
      fisher.added(positionEmbedding.group(), embedded);
      fisher.added(classEmbedding.group(), embedded.narrow(2, 0, 1));
      Tensor patchCotangent = embedded.narrow(2, 1, config.patches());
      if (pooledCotangent.size(1) > 1) {
        // Batch squares read the examples of a batch end to end.
        patchCotangent = patchCotangent.contiguous();
      }
      patchEmbedding.tap(patchCotangent, Tensors.entries(patches, examples), fisher, 0);
    }
  }

  /** Pixels [B, C, H, W] as rows of flattened patches [B, P, C*p*p], the convolution's im2col. */
  private Tensor patches(MemorySegment pixels, int examples) {
    long side = config.imageSize();
    long patch = config.patchSize();
    long grid = side / patch;
    long channels = config.channels();
    Tensor image = Tensors.copyOf(pixels, examples, channels, side, side);
    long used = grid * patch;
    return image
        .narrow(2, 0, used)
        .narrow(3, 0, used)
        .reshape(examples, channels, grid, patch, grid, patch)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(examples, grid * grid, channels * patch * patch);
  }

  @Override
  public void close() {
    parameters.close();
  }
}
