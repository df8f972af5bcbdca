package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A node of a configuration; immutable. */
public sealed interface ConfigValue {
  /** Stands for a value that must be given. */
  String MISSING = "???";

  /** Null, a Boolean, a number or a String. */
  record Scalar(@Nullable Object value) implements ConfigValue {
    static final Scalar NULL = new Scalar(null);

    boolean isMissing() {
      return MISSING.equals(value);
    }
  }

  /** A list. */
  record Sequence(List<ConfigValue> items) implements ConfigValue {
    public Sequence {
      items = List.copyOf(items);
    }
  }

  /** Names and values, in order. */
  record Mapping(Map<String, ConfigValue> entries) implements ConfigValue {
    static final Mapping EMPTY = new Mapping(Map.of());

    public Mapping {
      entries = Collections.unmodifiableMap(new LinkedHashMap<>(entries));
    }

    Mapping with(String key, ConfigValue value) {
      Map<String, ConfigValue> changed = new LinkedHashMap<>(entries);
      changed.put(key, value);
      return new Mapping(changed);
    }

    Mapping without(String key) {
      Map<String, ConfigValue> changed = new LinkedHashMap<>(entries);
      changed.remove(key);
      return new Mapping(changed);
    }

    /**
     * Entries of both; where both have one, mappings are merged and anything else is replaced by
     * the other's, unless that is missing.
     */
    Mapping merge(Mapping other) {
      Map<String, ConfigValue> merged = new LinkedHashMap<>(entries);
      other.entries.forEach((key, theirs) -> merged.merge(key, theirs, ConfigValue::mergeValues));
      return new Mapping(merged);
    }
  }

  private static ConfigValue mergeValues(ConfigValue ours, ConfigValue theirs) {
    if (ours instanceof Mapping mine && theirs instanceof Mapping other) {
      return mine.merge(other);
    }
    return theirs instanceof Scalar scalar && scalar.isMissing() ? ours : theirs;
  }

  /** The child of that name or, in a list, that index. */
  default Optional<ConfigValue> child(String key) {
    return switch (this) {
      case Mapping mapping -> Optional.ofNullable(mapping.entries.get(key));
      case Sequence list
          when key.matches("\\d{1,9}") && Integer.parseInt(key) < list.items.size() ->
          Optional.of(list.items.get(Integer.parseInt(key)));
      default -> Optional.empty();
    };
  }

  /** The node at a path below this one. */
  default Optional<ConfigValue> at(List<String> path) {
    Optional<ConfigValue> found = Optional.of(this);
    for (String key : path) {
      found = found.flatMap(node -> node.child(key));
    }
    return found;
  }

  /**
   * This tree with another value at a path. Missing mappings on the way are made, and what is in
   * the way is replaced.
   */
  default ConfigValue with(List<String> path, ConfigValue value) {
    if (path.isEmpty()) {
      return value;
    }
    String key = path.getFirst();
    ConfigValue below = child(key).orElse(Mapping.EMPTY).with(path.subList(1, path.size()), value);
    if (this instanceof Sequence list && child(key).isPresent()) {
      List<ConfigValue> items = new ArrayList<>(list.items);
      items.set(Integer.parseInt(key), below);
      return new Sequence(items);
    }
    return (this instanceof Mapping mapping ? mapping : Mapping.EMPTY).with(key, below);
  }

  /** Plain Java values, for writing. */
  default @Nullable Object plain() {
    return switch (this) {
      case Scalar scalar -> scalar.value;
      case Sequence list -> {
        List<@Nullable Object> items = new ArrayList<>();
        list.items.forEach(item -> items.add(item.plain()));
        yield items;
      }
      case Mapping mapping -> {
        Map<String, @Nullable Object> entries = new LinkedHashMap<>();
        mapping.entries.forEach((key, value) -> entries.put(key, value.plain()));
        yield entries;
      }
    };
  }

  /** A short text for messages. */
  default String shortly() {
    return switch (this) {
      case Scalar scalar -> String.valueOf(scalar.value);
      case Sequence list -> "a list of " + list.items.size();
      case Mapping mapping ->
          "a group of keys (" + String.join(", ", mapping.entries.keySet()) + ")";
    };
  }
}
