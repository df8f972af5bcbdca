package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Activation;
import org.fishermerge.torch.nn.Attention;
import org.fishermerge.torch.nn.Counting;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Mlp;
import org.fishermerge.torch.nn.OutputTokens;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.nn.TokenEmbedding;
import org.fishermerge.torch.nn.TransformerBlock;
import org.fishermerge.torch.nn.Weights;

/**
 * What BERT and its kin have in common: the keys of config.json, the embeddings, and post-norm
 * blocks of which only the first token of the last one is used.
 *
 * @param positions rows of the position table
 * @param labels classes of the head, if the file tells
 */
record EncoderConfig(
    int width,
    int layers,
    int heads,
    int mlpWidth,
    int vocabulary,
    int positions,
    int types,
    Activation activation,
    double epsilon,
    OptionalLong padToken,
    OptionalInt labels,
    List<String> warnings) {
  static SettingsKeys keys(String file) {
    return SettingsKeys.of(
        file,
        List.of(
            "model_type",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
            "hidden_act",
            "layer_norm_eps",
            "pad_token_id",
            "position_embedding_type",
            "problem_type",
            "id2label",
            "num_labels"),
        Stream.concat(
                ModelConfig.WITHOUT_EFFECT.stream(),
                Stream.of(
                    "architectures",
                    "auto_map",
                    "cross_attention_hidden_size",
                    "directionality",
                    "eos_token_id",
                    "gradient_checkpointing",
                    "label2id",
                    "model_name",
                    "pooler_fc_size",
                    "pooler_num_attention_heads",
                    "pooler_num_fc_layers",
                    "pooler_size_per_head",
                    "pooler_type",
                    "tie_encoder_decoder",
                    "tie_word_embeddings"))
            .distinct()
            .toList(),
        List.of(
            "add_cross_attention",
            "is_decoder",
            "is_encoder_decoder",
            "per_layer_config",
            "pruned_heads",
            "quantization_config"));
  }

  static EncoderConfig read(Checkpoint checkpoint, String type, SettingsKeys keys) {
    return read(JsonConfig.configOf(checkpoint), type, keys);
  }

  static EncoderConfig read(Path file, String type, SettingsKeys keys) {
    return read(ModelConfig.read(file), type, keys);
  }

  private static EncoderConfig read(ModelConfig config, String type, SettingsKeys keys) {
    Path file = config.file();
    JsonConfig json = JsonConfig.of(config);
    json.requireType(type);
    json.refuse(keys);
    json.requireSingleLabel();
    String positions =
        json.has("position_embedding_type") ? json.text("position_embedding_type") : "absolute";
    if (!positions.equals("absolute")) {
      throw new InputException(
          "%s: key position_embedding_type is \"%s\", which is not supported; expected absolute"
              .formatted(file, positions));
    }
    int width = json.positive("hidden_size");
    int heads = json.positive("num_attention_heads");
    if (width % heads != 0) {
      throw new InputException(
          "%s: hidden_size %d is not a multiple of num_attention_heads %d"
              .formatted(file, width, heads));
    }
    int pad = json.integer("pad_token_id", -1);
    List<String> warnings = new ArrayList<>(config.warnings());
    warnings.addAll(json.unknown(keys));
    return new EncoderConfig(
        width,
        json.positive("num_hidden_layers"),
        heads,
        json.positive("intermediate_size"),
        json.positive("vocab_size"),
        json.positive("max_position_embeddings"),
        json.positive("type_vocab_size"),
        json.activation("hidden_act"),
        json.epsilon("layer_norm_eps"),
        pad < 0 ? OptionalLong.empty() : OptionalLong.of(pad),
        json.labels(),
        List.copyOf(warnings));
  }

  TextClassifier.Inputs inputs(OptionalLong pad, int mostTokens, Counting counting) {
    return new TextClassifier.Inputs(
        vocabulary,
        mostTokens,
        counting,
        "max_position_embeddings",
        types,
        pad,
        TokenBatch.Alignment.START);
  }

  /** To be followed by a LayerNorm. */
  TokenEmbedding embeddings(Weights weights, Counting counting) {
    return new TokenEmbedding(
        weights.read("embeddings.word_embeddings.weight", vocabulary, width),
        padToken,
        weights.read("embeddings.position_embeddings.weight", positions, width),
        counting,
        weights.read("embeddings.token_type_embeddings.weight", types, width),
        false);
  }

  List<Layer> blocks(Weights weights) {
    List<Layer> blocks = new ArrayList<>();
    for (int i = 0; i < layers; i++) {
      OutputTokens output = i == layers - 1 ? OutputTokens.FIRST : OutputTokens.ALL;
      blocks.add(block(weights, "encoder.layer." + i, output));
    }
    return blocks;
  }

  private Layer block(Weights weights, String name, OutputTokens output) {
    Attention attention =
        new Attention(
            heads,
            1 / Math.sqrt((double) width / heads),
            Linear.stack(
                weights,
                width,
                width,
                name + ".attention.self.query",
                name + ".attention.self.key",
                name + ".attention.self.value"),
            Linear.read(weights, name + ".attention.output.dense", width, width),
            output);
    LayerNorm norm1 = LayerNorm.read(weights, name + ".attention.output.LayerNorm", width, epsilon);
    Mlp mlp =
        new Mlp(
            Linear.read(weights, name + ".intermediate.dense", mlpWidth, width),
            activation,
            Linear.read(weights, name + ".output.dense", width, mlpWidth));
    LayerNorm norm2 = LayerNorm.read(weights, name + ".output.LayerNorm", width, epsilon);
    return TransformerBlock.postNorm(attention, norm1, mlp, norm2);
  }
}
