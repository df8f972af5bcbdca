package org.fishermerge.merge;

import java.util.Collection;
import org.fishermerge.checkpoint.JsonFile;
import org.jspecify.annotations.Nullable;

/**
 * A key of a settings file that two models disagree on.
 *
 * @param key with the names of the groups that it is in, such as {@code vision_config.hidden_act}
 * @param one the first model's value, in words
 * @param other the second model's
 * @param decisive whether the models compute different things; otherwise that cannot be told
 */
record Difference(String key, String one, String other, boolean decisive) {
  static Difference decisive(String key, @Nullable Object one, @Nullable Object other) {
    return new Difference(key, JsonFile.text(one), JsonFile.text(other), true);
  }

  static Difference possible(String key, @Nullable Object one, @Nullable Object other) {
    return new Difference(key, JsonFile.text(one), JsonFile.text(other), false);
  }

  /** Whether one of the names stands for this key: its own, or that of a group that it is in. */
  boolean isOneOf(Collection<String> names) {
    return names.stream()
        .anyMatch(
            name -> key.equals(name) || key.startsWith(name + ".") || key.endsWith("." + name));
  }

  /** The name that a user would give. */
  String name() {
    return key.substring(key.lastIndexOf('.') + 1);
  }
}
