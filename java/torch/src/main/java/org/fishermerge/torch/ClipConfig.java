package org.fishermerge.torch;

import java.nio.file.Path;
import java.util.Optional;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;

/**
 * The shape of a CLIP model as its Hugging Face config.json states it.
 *
 * @param vision the image tower
 * @param text the text tower; absent in a folder that holds a vision tower alone
 */
public record ClipConfig(Vision vision, Optional<Text> text) {

  /** Width, depth and heads of a transformer tower. */
  record Tower(
      int width, int layers, int heads, int mlpWidth, Activation activation, double epsilon) {}

  /** The image tower: square pictures of {@code imageSize} pixels cut into square patches. */
  public record Vision(Tower tower, int imageSize, int patchSize, int channels) {
    /** Patches of one picture; the class token comes on top. */
    int patches() {
      int side = imageSize / patchSize;
      return side * side;
    }

    int tokens() {
      return patches() + 1;
    }
  }

  /** The text tower. */
  public record Text(Tower tower, int vocabulary, int maxPositions, int endOfText) {}

  /** Reads config.json of a CLIPModel or CLIPVisionModel folder. */
  public static ClipConfig of(Checkpoint checkpoint) {
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
  public static ClipConfig of(Path file) {
    JsonConfig root = JsonConfig.read(file);
    String type = root.text("model_type", "");
    return switch (type) {
      case "clip" ->
          new ClipConfig(
              vision(root.object("vision_config")), Optional.of(text(root.object("text_config"))));
      case "clip_vision_model" ->
          new ClipConfig(
              vision(root.has("vision_config") ? root.object("vision_config") : root),
              Optional.empty());
      default ->
          throw new InputException(
              file
                  + ": model_type is \""
                  + type
                  + "\"; expected clip or clip_vision_model (the model must be a CLIP)");
    };
  }

  // Defaults are those of transformers' CLIPVisionConfig and CLIPTextConfig: the hub's oldest
  // configs leave out what equals them.
  private static Vision vision(JsonConfig json) {
    return new Vision(
        tower(json, 768, 12, 12, 3072),
        json.integer("image_size", 224),
        json.integer("patch_size", 32),
        json.integer("num_channels", 3));
  }

  private static Text text(JsonConfig json) {
    return new Text(
        tower(json, 512, 12, 8, 2048),
        json.integer("vocab_size", 49408),
        json.integer("max_position_embeddings", 77),
        json.integer("eos_token_id", 49407));
  }

  private static Tower tower(JsonConfig json, int width, int layers, int heads, int mlp) {
    Tower tower =
        new Tower(
            json.integer("hidden_size", width),
            json.integer("num_hidden_layers", layers),
            json.integer("num_attention_heads", heads),
            json.integer("intermediate_size", mlp),
            Activation.named(json.text("hidden_act", "quick_gelu"), json.file().toString()),
            json.number("layer_norm_eps", 1e-5));
    if (tower.width <= 0 || tower.layers <= 0 || tower.heads <= 0 || tower.mlpWidth <= 0) {
      throw new InputException(
          json.file() + ": " + json.path() + " has a size that is not positive");
    }
    if (tower.width % tower.heads != 0) {
      throw new InputException(
          json.file()
              + ": "
              + json.path()
              + "hidden_size "
              + tower.width
              + " is not a multiple of num_attention_heads "
              + tower.heads);
    }
    return tower;
  }
}
