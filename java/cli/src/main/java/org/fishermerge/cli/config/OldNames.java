package org.fishermerge.cli.config;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Keys of FusionBench 0.1 and their present names. An old key counts only where the configuration
 * has no key of that name, so the same name may still be used for something else.
 */
final class OldNames {
  private static final Map<String, String> KEYS =
      Map.of(
          "save_report", "report_save_path",
          "log_dir", "path.log_dir",
          "method.batch_size", "method.dataloader_kwargs.batch_size",
          "method.num_workers", "method.dataloader_kwargs.num_workers",
          "method.devices", "fabric.devices",
          "method.cache_dir", "path.cache_dir",
          "taskpool.batch_size", "taskpool.dataloader_kwargs.batch_size",
          "taskpool.num_workers", "taskpool.dataloader_kwargs.num_workers");

  /** What held a model's name before the name alone did. */
  private static final String MODEL_NAME = ".pretrained_model_name_or_path";

  private OldNames() {}

  /** The present name of a task. */
  static String task(String name) {
    return name.equals("stanford_cars") ? "stanford-cars" : name;
  }

  /** The present key, if the key is an old one and the configuration has the present one. */
  static Optional<String> presentKey(String key, ConfigValue config) {
    String renamed = KEYS.getOrDefault(key, key);
    if (renamed.endsWith(MODEL_NAME) && renamed.startsWith("modelpool.models.")) {
      renamed = renamed.substring(0, renamed.length() - MODEL_NAME.length());
    }
    List<String> path = List.of(renamed.split("\\.", -1)).stream().map(OldNames::task).toList();
    return !String.join(".", path).equals(key) && config.at(path).isPresent()
        ? Optional.of(String.join(".", path))
        : Optional.empty();
  }
}
