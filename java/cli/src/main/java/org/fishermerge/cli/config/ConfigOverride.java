package org.fishermerge.cli.config;

import org.jspecify.annotations.Nullable;

/**
 * An override of the command line.
 *
 * @param key a path with dots, or a group with slashes
 * @param toPackage what follows {@code @} in the key
 * @param value null only for a deletion that names none
 * @param text as it was given
 */
record ConfigOverride(
    Kind kind, String key, @Nullable String toPackage, @Nullable ConfigValue value, String text) {
  enum Kind {
    /** {@code key=value}: the key exists. */
    SET,
    /** {@code +key=value}: the key is new. */
    ADD,
    /** {@code ++key=value}: either. */
    FORCE,
    /** {@code ~key} or {@code ~key=value}. */
    DELETE
  }

  /** The key as a group and its package. */
  String choice() {
    return toPackage == null ? key : key + "@" + toPackage;
  }
}
