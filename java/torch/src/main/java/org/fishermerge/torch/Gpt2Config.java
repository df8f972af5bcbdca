package org.fishermerge.torch;

import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;

/**
 * The shape of a GPT-2 model as its Hugging Face config.json states it.
 *
 * @param positions the most tokens of a text
 * @param scaledScores whether attention scores are divided by the root of a head's width
 * @param scoresByLayer whether those of layer i are also divided by i + 1
 * @param padToken the id that fills texts up to a common length, if the model has one
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
    OptionalLong padToken) {
  private static final String TYPE = "gpt2";

  /** Whether a model folder says that it holds a GPT-2. */
  static boolean describes(Checkpoint checkpoint) {
    Optional<Path> file = checkpoint.config();
    return file.isPresent() && JsonConfig.read(file.get()).text("model_type", "").equals(TYPE);
  }

  /**
   * Reads config.json of a GPT2Model or GPT2ForSequenceClassification folder.
   *
   * @throws InputException if it is missing, is of another model, or says what is not supported
   */
  static Gpt2Config of(Checkpoint checkpoint) {
    Path file =
        checkpoint
            .config()
            .orElseThrow(() ->
                new InputException(
                    checkpoint.path()
                        + ": no config.json beside the weights; expected a Hugging Face model"
                        + " folder"));
    return of(file);
  }

  /** Reads a config.json that may lie apart from its weights. */
  static Gpt2Config of(Path file) {
    JsonConfig json = JsonConfig.read(file);
    String type = json.text("model_type", "");
    if (!type.equals(TYPE)) {
      throw new InputException(file + ": model_type is \"" + type + "\"; expected gpt2");
    }
    if (json.flag("add_cross_attention", false)) {
      throw unsupported(json, "add_cross_attention is true", "false");
    }
    String problem = json.text("problem_type", "single_label_classification");
    if (!problem.equals("single_label_classification")) {
      throw unsupported(json, "problem_type is " + problem, "single_label_classification");
    }
    // In fp32 it changes the order of two factors and nothing else.
    json.flag("reorder_and_upcast_attn", false);
    int width = json.positive("n_embd");
    int heads = json.positive("n_head");
    if (width % heads != 0) {
      throw new InputException(
          file + ": n_embd " + width + " is not a multiple of n_head " + heads);
    }
    int pad = json.integer("pad_token_id", -1);
    return new Gpt2Config(
        width,
        json.positive("n_layer"),
        heads,
        json.has("n_inner") ? json.positive("n_inner") : 4 * width,
        json.positive("vocab_size"),
        json.positive("n_positions"),
        Activation.named(json.text("activation_function", "gelu_new"), file.toString()),
        json.number("layer_norm_epsilon", 1e-5),
        json.flag("scale_attn_weights", true),
        json.flag("scale_attn_by_inverse_layer_idx", false),
        pad < 0 ? OptionalLong.empty() : OptionalLong.of(pad));
  }

  private static InputException unsupported(JsonConfig json, String what, String expected) {
    return new InputException(
        json.file() + ": " + what + ", which is not supported; expected " + expected);
  }

  /** What models that are merged have in common, in words. */
  String shape() {
    return "%d layers of width %d with %d heads and MLPs of %d, for %d tokens at %d positions"
        .formatted(layers, width, heads, mlpWidth, vocabulary, positions);
  }

  /** What queries of a layer are multiplied by. */
  double queryScale(int layer) {
    double scale = scaledScores ? 1 / Math.sqrt((double) width / heads) : 1;
    return scoresByLayer ? scale / (layer + 1) : scale;
  }
}
