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

/**
 * The shape of a GPT-2 model as its Hugging Face config.json states it.
 *
 * @param positions the most tokens of a text
 * @param scaledScores whether attention scores are divided by the root of a head's width
 * @param scoresByLayer whether those of layer i are also divided by i + 1
 * @param padToken the id that fills texts up to a common length, if the model has one
 * @param labels classes of the head, if the file tells
 * @param warnings what is odd about the file but does not stop its use
 */
record Gpt2Config(
    int width,
    int layers,
    int heads,
    int mlpWidth,
    int vocabulary,
    int positions,
    Activation activation,
    double epsilon,
    boolean scaledScores,
    boolean scoresByLayer,
    OptionalLong padToken,
    OptionalInt labels,
    List<String> warnings) {
  /** Keys of the file. */
  static final SettingsKeys KEYS =
      SettingsKeys.of(
          "config.json of a GPT-2",
          List.of(
              "model_type",
              "n_embd",
              "hidden_size",
              "n_layer",
              "num_hidden_layers",
              "n_head",
              "num_attention_heads",
              "n_positions",
              "max_position_embeddings",
              "n_inner",
              "vocab_size",
              "activation_function",
              "layer_norm_epsilon",
              "scale_attn_weights",
              "scale_attn_by_inverse_layer_idx",
              "pad_token_id",
              "problem_type",
              "id2label",
              "num_labels"),
          Stream.concat(
                  ModelConfig.WITHOUT_EFFECT.stream(),
                  Stream.of(
                      "architectures",
                      "auto_map",
                      "cross_attention_hidden_size",
                      "eos_token_id",
                      "is_decoder",
                      "label2id",
                      // The old name of n_positions, which is what counts.
                      "n_ctx",
                      // It changes only the order of two multiplications in F32.
                      "reorder_and_upcast_attn",
                      "summary_activation",
                      "summary_proj_to_labels",
                      "summary_type",
                      "summary_use_proj",
                      "tie_encoder_decoder",
                      "tie_word_embeddings"))
              .toList(),
          List.of(
              "add_cross_attention",
              "is_encoder_decoder",
              "per_layer_config",
              "pruned_heads",
              "quantization_config"));

  /**
   * Reads config.json of a GPT2Model or GPT2ForSequenceClassification folder.
   *
   * @throws InputException if it is missing, is of another model, or says what is not supported
   */
  static Gpt2Config of(Checkpoint checkpoint) {
    return of(JsonConfig.configOf(checkpoint));
  }

  /** Reads a config.json that may lie apart from its weights. */
  static Gpt2Config of(Path file) {
    return of(ModelConfig.read(file));
  }

  private static Gpt2Config of(ModelConfig config) {
    Path file = config.file();
    JsonConfig json = JsonConfig.of(config);
    json.requireType(ModelConfig.GPT2);
    json.refuse(KEYS);
    json.requireSingleLabel();
    int width = json.positive("n_embd");
    int heads = json.positive("n_head");
    if (width % heads != 0) {
      throw new InputException(
          file + ": n_embd " + width + " is not a multiple of n_head " + heads);
    }
    int pad = json.integer("pad_token_id", -1);
    List<String> warnings = new ArrayList<>(config.warnings());
    warnings.addAll(json.unknown(KEYS));
    return new Gpt2Config(
        width,
        json.positive("n_layer"),
        heads,
        json.has("n_inner") ? json.positive("n_inner") : 4 * width,
        json.positive("vocab_size"),
        json.positive("n_positions"),
        json.activation("activation_function"),
        json.epsilon("layer_norm_epsilon"),
        json.flag("scale_attn_weights"),
        json.flag("scale_attn_by_inverse_layer_idx"),
        pad < 0 ? OptionalLong.empty() : OptionalLong.of(pad),
        json.labels(),
        List.copyOf(warnings));
  }

  /** What queries of a layer are multiplied by. */
  double queryScale(int layer) {
    double scale = scaledScores ? 1 / Math.sqrt((double) width / heads) : 1;
    return scoresByLayer ? scale / (layer + 1) : scale;
  }
}
