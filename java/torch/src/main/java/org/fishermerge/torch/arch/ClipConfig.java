package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Activation;

/**
 * The shape of a CLIP model as its Hugging Face config.json states it.
 *
 * @param vision the image tower
 * @param text the text tower; absent in a folder that holds a vision tower alone
 * @param warnings what is odd about the file but does not stop its use
 */
public record ClipConfig(Vision vision, Optional<Text> text, List<String> warnings) {
  /** Without effect on the encoders of a CLIP, beside {@link ModelConfig#WITHOUT_EFFECT}. */
  private static final List<String> OTHERS =
      List.of(
          "add_cross_attention",
          "architectures",
          "auto_map",
          "cross_attention_hidden_size",
          "id2label",
          "is_decoder",
          "is_encoder_decoder",
          "label2id",
          "num_labels",
          "pad_token_id",
          "problem_type",
          // Read from the shapes of the projections instead.
          "projection_dim",
          "tie_encoder_decoder",
          "tie_word_embeddings");

  private static final List<String> IGNORED =
      Stream.concat(ModelConfig.WITHOUT_EFFECT.stream(), OTHERS.stream()).toList();

  private static final List<String> TOWER =
      List.of(
          "hidden_size",
          "num_hidden_layers",
          "num_attention_heads",
          "intermediate_size",
          "hidden_act",
          "layer_norm_eps");

  private static final List<String> REFUSED =
      List.of("per_layer_config", "pruned_heads", "quantization_config");

  /** Keys of the file of a whole CLIP. */
  public static final SettingsKeys KEYS =
      SettingsKeys.of(
          "config.json of a CLIP",
          List.of(
              "model_type",
              "text_config",
              "text_config_dict",
              "vision_config",
              "vision_config_dict"),
          IGNORED,
          REFUSED);

  /** Keys of the image tower: in its group, or at the top of an image tower's own file. */
  public static final SettingsKeys VISION_KEYS =
      SettingsKeys.of(
          "config.json of a CLIP: vision_config, and all of a clip_vision_model",
          concat(TOWER, "model_type", "image_size", "patch_size", "num_channels"),
          IGNORED,
          REFUSED);

  /** Keys of the text tower. */
  public static final SettingsKeys TEXT_KEYS =
      SettingsKeys.of(
          "config.json of a CLIP: text_config",
          concat(TOWER, "model_type", "vocab_size", "max_position_embeddings", "eos_token_id"),
          IGNORED,
          REFUSED);

  private static List<String> concat(List<String> keys, String... more) {
    return Stream.concat(keys.stream(), Stream.of(more)).toList();
  }

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

    /** The pictures that it takes. */
    public PictureShape pictures() {
      return new PictureShape(channels, imageSize);
    }
  }

  /** The text tower. */
  public record Text(Tower tower, int vocabulary, int maxPositions, int endOfText) {}

  /** Reads config.json of a CLIPModel or CLIPVisionModel folder. */
  public static ClipConfig of(Checkpoint checkpoint) {
    return of(JsonConfig.configOf(checkpoint));
  }

  /** Reads a config.json that may lie apart from its weights. */
  public static ClipConfig of(Path file) {
    return of(ModelConfig.read(file));
  }

  private static ClipConfig of(ModelConfig config) {
    Path file = config.file();
    JsonConfig root = JsonConfig.of(config);
    List<String> warnings = new ArrayList<>(config.warnings());
    return switch (config.modelType()) {
      case ModelConfig.CLIP -> {
        root.refuse(KEYS);
        warnings.addAll(root.unknown(KEYS));
        JsonConfig vision = root.object(ModelConfig.VISION_CONFIG);
        JsonConfig text = root.object(ModelConfig.TEXT_CONFIG);
        Vision tower = vision(vision, warnings);
        Text words = text(text, warnings);
        yield new ClipConfig(tower, Optional.of(words), List.copyOf(warnings));
      }
      case ModelConfig.CLIP_VISION -> {
        Vision tower = vision(root, warnings);
        yield new ClipConfig(tower, Optional.empty(), List.copyOf(warnings));
      }
      case ModelConfig.CLIP_TEXT ->
          throw new InputException(
              file
                  + ": model_type is clip_text_model, a CLIP's text tower alone; expected clip or"
                  + " clip_vision_model, which have an image tower");
      default ->
          throw new InputException(
              file
                  + ": model_type is \""
                  + config.modelType()
                  + "\"; expected clip or clip_vision_model (the model must be a CLIP)");
    };
  }

  private static Vision vision(JsonConfig json, List<String> warnings) {
    json.refuse(VISION_KEYS);
    warnings.addAll(json.unknown(VISION_KEYS));
    Vision vision =
        new Vision(
            tower(json),
            json.positive("image_size"),
            json.positive("patch_size"),
            json.positive("num_channels"));
    if (vision.patchSize > vision.imageSize) {
      throw new InputException(
          "%s: key %spatch_size is %d, more than image_size %d"
              .formatted(json.file(), json.path(), vision.patchSize, vision.imageSize));
    }
    return vision;
  }

  private static Text text(JsonConfig json, List<String> warnings) {
    json.refuse(TEXT_KEYS);
    warnings.addAll(json.unknown(TEXT_KEYS));
    return new Text(
        tower(json),
        json.positive("vocab_size"),
        json.positive("max_position_embeddings"),
        json.integer("eos_token_id"));
  }

  private static Tower tower(JsonConfig json) {
    Tower tower =
        new Tower(
            json.positive("hidden_size"),
            json.positive("num_hidden_layers"),
            json.positive("num_attention_heads"),
            json.positive("intermediate_size"),
            json.activation("hidden_act"),
            json.epsilon("layer_norm_eps"));
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
