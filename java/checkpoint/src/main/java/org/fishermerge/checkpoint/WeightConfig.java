package org.fishermerge.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a config.json says about the weights beside it: of which kinds of model they are, whether
 * some are tied, and whether they are quantised. Architectures read the rest themselves.
 *
 * @param parts the model's own configuration and those nested in it ({@code text_config}, {@code
 *     decoder}, ...), outermost first
 * @param quantization the method that {@code quantization_config} names, or MLX's {@code
 *     quantization}; null if there is neither
 */
record WeightConfig(Path file, List<Part> parts, @Nullable String quantization) {
  /**
   * A configuration.
   *
   * @param modelType {@code model_type}; empty if it states none
   * @param tied {@code tie_word_embeddings}; null if it does not state it
   */
  record Part(String modelType, @Nullable Boolean tied) {}

  WeightConfig {
    parts = List.copyOf(parts);
  }

  /**
   * Reads a config.json.
   *
   * @throws InputException if it is no JSON object or cannot be read
   */
  static WeightConfig read(Path file) {
    List<Part> parts = new ArrayList<>();
    Map<String, @Nullable Object> config = JsonFile.object(file);
    addParts(config, parts);
    return new WeightConfig(file, parts, quantization(config));
  }

  private static void addParts(Map<?, ?> object, List<Part> parts) {
    String type = object.get("model_type") instanceof String text ? text : "";
    Boolean tied = object.get("tie_word_embeddings") instanceof Boolean flag ? flag : null;
    if (!type.isEmpty() || tied != null) {
      parts.add(new Part(type, tied));
    }
    for (Object value : object.values()) {
      if (value instanceof Map<?, ?> nested) {
        addParts(nested, parts);
      }
    }
  }

  private static @Nullable String quantization(Map<?, ?> config) {
    String method = method(config);
    // MLX's key is too common a word to mean the same deeper down.
    return method == null && config.get("quantization") instanceof Map ? "mlx" : method;
  }

  /** The method of the first {@code quantization_config} at any depth. */
  private static @Nullable String method(Map<?, ?> object) {
    if (object.get("quantization_config") instanceof Map<?, ?> settings) {
      return settings.get("quant_method") instanceof String method ? method : "";
    }
    for (Object value : object.values()) {
      String method = value instanceof Map<?, ?> nested ? method(nested) : null;
      if (method != null) {
        return method;
      }
    }
    return null;
  }
}
