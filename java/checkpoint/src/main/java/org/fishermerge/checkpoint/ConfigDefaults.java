package org.fishermerge.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What configuration classes of transformers take for keys that a config.json leaves out, and the
 * other names that they have for keys. Read from a resource that
 * java/testkit/oracles/config_defaults.py wrote.
 *
 * @param defaults by key; null where it is computed from other keys or off
 * @param aliases other names by key
 * @param ropeTheta base of the rotary position embeddings where the file has none; null for models
 *     without these
 */
record ConfigDefaults(
    Map<String, @Nullable Object> defaults,
    Map<String, @Nullable Object> aliases,
    @Nullable Object ropeTheta) {
  private static final String RESOURCE = "config-defaults.json";

  /** Read when first needed: most merges do without. */
  private static final class Known {
    static final Map<String, @Nullable Object> TYPES = read();

    private static Map<String, @Nullable Object> read() {
      try (InputStream in = ConfigDefaults.class.getResourceAsStream(RESOURCE)) {
        if (in == null) {
          throw new IllegalStateException("the program lacks " + RESOURCE);
        }
        return ModelConfig.object(
            JsonFile.object(Path.of(RESOURCE), in.readAllBytes()).get("types"));
      } catch (IOException e) {
        throw new IllegalStateException("cannot read " + RESOURCE, e);
      }
    }
  }

  /** Of a model type; empty for those not known here. */
  static Optional<ConfigDefaults> of(String modelType) {
    return Known.TYPES.get(modelType) instanceof Map<?, ?> type
        ? Optional.of(
            new ConfigDefaults(
                ModelConfig.object(type.get("defaults")),
                ModelConfig.object(type.get("aliases")),
                type.get("rope_theta")))
        : Optional.empty();
  }
}
