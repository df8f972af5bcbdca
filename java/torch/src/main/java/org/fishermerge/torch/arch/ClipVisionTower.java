package org.fishermerge.torch.arch;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.nn.Attention;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Mlp;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.OutputTokens;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.PatchEmbedding;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.nn.Sequential;
import org.fishermerge.torch.nn.TransformerBlock;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * CLIP's image tower, from pixels to the pooled class token (Radford et al. 2021). Not thread-safe:
 * a tower belongs to one thread at a time.
 *
 * @param config the tower's shape
 */
public record ClipVisionTower(ClipConfig.Vision config, Network<Pixels> network)
    implements AutoCloseable {
  /**
   * Reads the image tower of a CLIPVisionModel or CLIPModel folder.
   *
   * @throws InputException if config.json or a tensor is missing, or a shape is not what the
   *     configuration implies
   */
  public static ClipVisionTower load(Checkpoint checkpoint) {
    ClipConfig.Vision config = ClipConfig.of(checkpoint).vision();
    return new ClipVisionTower(
        config,
        Weights.load(checkpoint, LibTorch.productType(), weights -> network(config, weights)));
  }

  private static Network<Pixels> network(ClipConfig.Vision config, Weights weights) {
    ClipConfig.Tower tower = config.tower();
    long width = tower.width();
    PatchEmbedding embeddings = embeddings(config, weights);
    List<Layer> layers = new ArrayList<>();
    // "layrnorm" is how the published checkpoints spell it.
    layers.add(LayerNorm.read(weights, "pre_layrnorm", width, tower.epsilon()));
    for (int i = 0; i < tower.layers(); i++) {
      // Only the class token of the last block reaches the logits.
      OutputTokens output = i == tower.layers() - 1 ? OutputTokens.FIRST : OutputTokens.ALL;
      layers.add(block(weights, "encoder.layers." + i, tower, output));
    }
    layers.add(LayerNorm.read(weights, "post_layernorm", width, tower.epsilon()));
    return new Network<>(weights, embeddings, new Sequential(layers));
  }

  private static PatchEmbedding embeddings(ClipConfig.Vision config, Weights weights) {
    long width = config.tower().width();
    Weights.Parameter classToken = weights.read("embeddings.class_embedding", width);
    Linear projection =
        new Linear(
            weights.convolution(
                "embeddings.patch_embedding.weight",
                width,
                config.channels(),
                config.patchSize(),
                config.patchSize()),
            null,
            false);
    return new PatchEmbedding(
        config.channels(),
        config.imageSize(),
        config.patchSize(),
        projection,
        classToken,
        weights.read("embeddings.position_embedding.weight", config.tokens(), width));
  }

  /** A block of the image or of the text tower. */
  static Layer block(Weights weights, String name, ClipConfig.Tower tower, OutputTokens output) {
    long width = tower.width();
    LayerNorm norm1 = LayerNorm.read(weights, name + ".layer_norm1", width, tower.epsilon());
    Attention attention =
        new Attention(
            tower.heads(),
            1 / Math.sqrt((double) width / tower.heads()),
            Linear.stack(
                weights,
                width,
                width,
                name + ".self_attn.q_proj",
                name + ".self_attn.k_proj",
                name + ".self_attn.v_proj"),
            Linear.read(weights, name + ".self_attn.out_proj", width, width),
            output);
    LayerNorm norm2 = LayerNorm.read(weights, name + ".layer_norm2", width, tower.epsilon());
    Mlp mlp =
        new Mlp(
            Linear.read(weights, name + ".mlp.fc1", tower.mlpWidth(), width),
            tower.activation(),
            Linear.read(weights, name + ".mlp.fc2", width, tower.mlpWidth()));
    return TransformerBlock.preNorm(norm1, attention, norm2, mlp);
  }

  /**
   * The tower under a frozen head; its own parameters are studied.
   *
   * @param head borrowed
   * @throws InputException if the head does not fit
   */
  public NetworkClassifier<Pixels> under(ZeroShotHead head) {
    int width = config.tower().width();
    if (head.featureWidth() != width) {
      throw new InputException(
          "the model's pooled features are "
              + width
              + " wide but the visual projection of --clip takes "
              + head.featureWidth()
              + "; name the CLIP model that this one was fine-tuned from");
    }
    return new NetworkClassifier<>(network, head, head.classCount(), parameterGroups());
  }

  List<ParameterGroup> parameterGroups() {
    return network.parameters();
  }

  @Override
  public void close() {
    network.close();
  }
}
