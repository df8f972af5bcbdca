package org.fishermerge.checkpoint;

import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/**
 * Which layers of a model store their weights as [in, out], as transformers' Conv1D does. Shapes
 * tell unless a weight is square; then the kind of model does.
 *
 * @param config the model's {@code config.json}, if it has one
 */
record Conv1dLayers(Optional<Path> config) {
  private static final Set<String> MODELS =
      Set.of("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder");
  private static final Set<String> LAYERS = Set.of("c_attn", "c_proj", "c_fc", "q_attn");

  /**
   * Whether the layer of that name is one; empty if the kind of model is not told.
   *
   * @throws InputException if the configuration is not valid JSON
   */
  Optional<Boolean> stored(String module) {
    return config
        .flatMap(Conv1dLayers::modelType)
        .map(type ->
            MODELS.contains(type)
                && LAYERS.contains(module.substring(module.lastIndexOf('.') + 1)));
  }

  private static Optional<String> modelType(Path config) {
    return JsonFile.object(config).get("model_type") instanceof String type
        ? Optional.of(type)
        : Optional.empty();
  }
}
