package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Activation;
import org.fishermerge.torch.nn.Attention;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Mlp;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.OutputTokens;
import org.fishermerge.torch.nn.PatchEmbedding;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.nn.Sequential;
import org.fishermerge.torch.nn.TransformerBlock;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * The vision transformer (Dosovitskiy et al. 2021) as transformers' ViTForImageClassification:
 * pre-norm blocks, one linear layer on the class token.
 */
final class Vit implements Architecture<ImageClassifier> {
  private static final String TYPE = "vit";
  private static final String CLASSIFIER = "classifier";

  static final SettingsKeys KEYS =
      SettingsKeys.of(
          "config.json of a ViT",
          List.of(
              "model_type",
              "hidden_size",
              "num_hidden_layers",
              "num_attention_heads",
              "intermediate_size",
              "hidden_act",
              "layer_norm_eps",
              "image_size",
              "patch_size",
              "num_channels",
              "qkv_bias",
              "problem_type",
              "id2label",
              "num_labels"),
          Stream.concat(
                  ModelConfig.WITHOUT_EFFECT.stream(),
                  Stream.of(
                      "architectures",
                      "auto_map",
                      "encoder_stride", // of masked picture modelling
                      "label2id",
                      // A classifier has no pooler.
                      "pooler_act",
                      "pooler_output_size",
                      "is_decoder",
                      "is_encoder_decoder",
                      "add_cross_attention",
                      "cross_attention_hidden_size",
                      "tie_encoder_decoder",
                      "tie_word_embeddings",
                      "eos_token_id",
                      "pad_token_id"))
              .distinct()
              .toList(),
          List.of("per_layer_config", "pruned_heads", "quantization_config"));

  /** The shape of a model as its config.json states it. */
  private record Config(
      int width,
      int layers,
      int heads,
      int mlpWidth,
      Activation activation,
      double epsilon,
      PictureShape pictures,
      int patchSize,
      boolean qkvBias,
      OptionalInt labels,
      List<String> warnings) {
    static Config read(ModelConfig config) {
      Path file = config.file();
      JsonConfig json = JsonConfig.of(config);
      json.requireType(TYPE);
      json.refuse(KEYS);
      json.requireSingleLabel();
      int width = json.positive("hidden_size");
      int heads = json.positive("num_attention_heads");
      if (width % heads != 0) {
        throw new InputException(
            "%s: hidden_size %d is not a multiple of num_attention_heads %d"
                .formatted(file, width, heads));
      }
      PictureShape pictures =
          new PictureShape(json.positive("num_channels"), json.positive("image_size"));
      int patchSize = json.positive("patch_size");
      if (patchSize > pictures.side()) {
        throw new InputException(
            "%s: key patch_size is %d, more than image_size %d"
                .formatted(file, patchSize, pictures.side()));
      }
      List<String> warnings = new ArrayList<>(config.warnings());
      warnings.addAll(json.unknown(KEYS));
      return new Config(
          width,
          json.positive("num_hidden_layers"),
          heads,
          json.positive("intermediate_size"),
          json.activation("hidden_act"),
          json.epsilon("layer_norm_eps"),
          pictures,
          patchSize,
          json.flag("qkv_bias"),
          json.labels(),
          List.copyOf(warnings));
    }

    int tokens() {
      int side = pictures.side() / patchSize;
      return side * side + 1;
    }
  }

  @Override
  public String modelType() {
    return TYPE;
  }

  @Override
  public SettingsKeys keys() {
    return KEYS;
  }

  @Override
  public void check(Path config) {
    Config.read(ModelConfig.read(config));
  }

  @Override
  public ImageClassifier load(Checkpoint backbone, Checkpoint head) {
    Config config = Config.read(JsonConfig.configOf(backbone));
    Config ofHead = Config.read(JsonConfig.configOf(head));
    return ImageClassifier.of(
        config.pictures,
        Weights.load(backbone, LibTorch.productType(), "vit.", w -> network(config, w)),
        () ->
            ClassifierHead.read(
                head,
                CLASSIFIER + ".weight",
                config.width,
                ofHead.labels,
                (weights, classes) -> Linear.read(weights, CLASSIFIER, classes, config.width)),
        Stream.concat(config.warnings.stream(), ofHead.warnings.stream()).distinct().toList());
  }

  private static Network<Pixels> network(Config config, Weights weights) {
    long width = config.width;
    PatchEmbedding embeddings = embeddings(config, weights);
    BlockNames names =
        weights.has("layers.0.layernorm_before.weight")
            ? BlockNames.OF_MODULES
            : BlockNames.OF_FILES;
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers; i++) {
      // Only the class token of the last block reaches the logits.
      OutputTokens output = i == config.layers - 1 ? OutputTokens.FIRST : OutputTokens.ALL;
      layers.add(block(weights, config, names.of(i), output));
    }
    layers.add(LayerNorm.read(weights, "layernorm", width, config.epsilon));
    return new Network<>(weights, embeddings, new Sequential(layers));
  }

  private static PatchEmbedding embeddings(Config config, Weights weights) {
    String projection = "embeddings.patch_embeddings.projection";
    int channels = config.pictures.channels();
    int patch = config.patchSize;
    return new PatchEmbedding(
        channels,
        config.pictures.side(),
        patch,
        new Linear(
            weights.convolution(projection + ".weight", config.width, channels, patch, patch),
            weights.read(projection + ".bias", config.width),
            false),
        weights.read("embeddings.cls_token", 1, 1, config.width),
        weights.read("embeddings.position_embeddings", 1, config.tokens(), config.width));
  }

  /**
   * What the parts of a block are called: in the files that save_pretrained writes, and in the
   * modules of transformers 5, whose state_dict some save as it is.
   */
  private record BlockNames(
      String block,
      String query,
      String key,
      String value,
      String attentionOut,
      String mlpIn,
      String mlpOut) {
    static final BlockNames OF_FILES =
        new BlockNames(
            "encoder.layer.",
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense");
    static final BlockNames OF_MODULES =
        new BlockNames(
            "layers.",
            "attention.q_proj",
            "attention.k_proj",
            "attention.v_proj",
            "attention.o_proj",
            "mlp.fc1",
            "mlp.fc2");

    /** Whole names of one block's parts; {@code block} is what its norms' names begin with. */
    BlockNames of(int layer) {
      String name = block + layer + ".";
      return new BlockNames(
          name,
          name + query,
          name + key,
          name + value,
          name + attentionOut,
          name + mlpIn,
          name + mlpOut);
    }
  }

  private static Layer block(
      Weights weights, Config config, BlockNames names, OutputTokens output) {
    long width = config.width;
    LayerNorm norm1 =
        LayerNorm.read(weights, names.block + "layernorm_before", width, config.epsilon);
    String[] qkv = {names.query, names.key, names.value};
    Attention attention =
        new Attention(
            config.heads,
            1 / Math.sqrt((double) width / config.heads),
            config.qkvBias
                ? Linear.stack(weights, width, width, qkv)
                : Linear.stackWithoutBias(weights, width, width, qkv),
            Linear.read(weights, names.attentionOut, width, width),
            output);
    LayerNorm norm2 =
        LayerNorm.read(weights, names.block + "layernorm_after", width, config.epsilon);
    Mlp mlp =
        new Mlp(
            Linear.read(weights, names.mlpIn, config.mlpWidth, width),
            config.activation,
            Linear.read(weights, names.mlpOut, width, config.mlpWidth));
    return TransformerBlock.preNorm(norm1, attention, norm2, mlp);
  }
}
