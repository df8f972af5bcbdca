package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;

/**
 * A group of keys, read one by one; {@link #done} refuses those that nobody asked for. Every
 * message names the key by its whole path.
 */
public final class Section {
  private final String path;
  private final Mapping mapping;
  private final Set<String> asked = new LinkedHashSet<>();

  Section(String path, Mapping mapping) {
    this.path = path;
    this.mapping = mapping;
  }

  /** The whole path of a key. */
  public String path(String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  /** Names, in order. */
  public List<String> keys() {
    return List.copyOf(mapping.entries().keySet());
  }

  /** A value that is there and not null. */
  private Optional<ConfigValue> value(String key) {
    asked.add(key);
    ConfigValue value = mapping.entries().get(key);
    if (value instanceof Scalar scalar && scalar.isMissing()) {
      throw new InputException(path(key) + " must be given, as in " + path(key) + "=VALUE");
    }
    return Optional.ofNullable(value)
        .filter(v -> !(v instanceof Scalar scalar && scalar.value() == null));
  }

  private InputException wrong(String key, ConfigValue found, String expected) {
    return new InputException(path(key) + " is " + found.shortly() + "; expected " + expected);
  }

  private InputException missing(String key) {
    return new InputException(path(key) + " is missing; the keys are " + String.join(", ", keys()));
  }

  /** A text or number as text; empty where the key is missing or null. */
  public Optional<String> text(String key) {
    return value(key)
        .map(found -> {
          if (found instanceof Scalar scalar && !(scalar.value() instanceof Boolean)) {
            return String.valueOf(scalar.value());
          }
          throw wrong(key, found, "a text");
        });
  }

  /** A text; empty where the key is missing, null or false. */
  public Optional<String> textOrFalse(String key) {
    return value(key).equals(Optional.of(new Scalar(false))) ? Optional.empty() : text(key);
  }

  /** A text that must be there. */
  public String requiredText(String key) {
    return text(key).orElseThrow(() -> missing(key));
  }

  /** Whether the value is false itself, not null. */
  public boolean isFalse(String key) {
    return value(key).equals(Optional.of(new Scalar(false)));
  }

  /** True or false; false where the key is missing or null. */
  public boolean flag(String key) {
    return value(key)
        .map(found -> {
          if (found instanceof Scalar scalar && scalar.value() instanceof Boolean flag) {
            return flag;
          }
          throw wrong(key, found, "true or false");
        })
        .orElse(false);
  }

  /** An integer of at least {@code least}; empty where the key is missing or null. */
  public Optional<Long> integer(String key, long least) {
    return value(key)
        .map(found -> {
          if (found instanceof Scalar scalar
              && scalar.value() instanceof Long number
              && number >= least) {
            return number;
          }
          throw wrong(
              key,
              found,
              least == Long.MIN_VALUE ? "a whole number" : "a whole number of at least " + least);
        });
  }

  /** An integer that must be there. */
  public long requiredInteger(String key, long least) {
    return integer(key, least).orElseThrow(() -> missing(key));
  }

  /** A finite number that must be there. */
  public double requiredNumber(String key) {
    ConfigValue found = value(key).orElseThrow(() -> missing(key));
    return number(key, found);
  }

  /** A finite number; empty where the key is missing or null. */
  public Optional<Double> number(String key) {
    return value(key).map(found -> number(key, found));
  }

  private double number(String key, ConfigValue found) {
    if (found instanceof Scalar scalar
        && scalar.value() instanceof Number number
        && Double.isFinite(number.doubleValue())) {
      return number.doubleValue();
    }
    throw wrong(key, found, "a finite number");
  }

  /** A list of numbers; empty where the key is missing or null. */
  public List<Double> numbers(String key) {
    return items(key).stream().map(item -> number(key, item)).toList();
  }

  /** A list of texts; empty where the key is missing or null. One text is a list of one. */
  public List<String> texts(String key) {
    return items(key).stream()
        .map(item -> {
          if (item instanceof Scalar scalar) {
            return String.valueOf(scalar.value());
          }
          throw wrong(key, item, "a text");
        })
        .toList();
  }

  private List<ConfigValue> items(String key) {
    return value(key)
        .map(found -> found instanceof Sequence list ? list.items() : List.of(found))
        .orElse(List.of());
  }

  /** Keys below a key; empty where it is missing, null or no group of keys. */
  public Optional<Section> sectionIfAny(String key) {
    return value(key)
        .filter(Mapping.class::isInstance)
        .map(found -> new Section(path(key), (Mapping) found));
  }

  /** Keys below a key; empty where it is missing or null. */
  public Optional<Section> section(String key) {
    return value(key)
        .map(found -> {
          if (found instanceof Mapping below) {
            return new Section(path(key), below);
          }
          throw wrong(key, found, "a group of keys");
        });
  }

  /** Keys below a key that must be there. */
  public Section requiredSection(String key) {
    return section(key).orElseThrow(() -> missing(key));
  }

  /** The last part of {@code _target_}, which says what the section is. */
  public String target() {
    String target =
        text("_target_")
            .orElseThrow(() ->
                new InputException(
                    path
                        + " has no key _target_; a configuration of FusionBench 0.1 must be brought"
                        + " to the present form first"));
    asked.add("_recursive_");
    asked.add("_usage_");
    return target.substring(target.lastIndexOf('.') + 1);
  }

  /** Accepts keys that have no effect. */
  public void accept(String... keys) {
    asked.addAll(List.of(keys));
  }

  /** Accepts a key with one of a few values, which change nothing, and refuses any other. */
  public void require(String key, String why, String... values) {
    ConfigValue found = mapping.entries().get(key);
    asked.add(key);
    if (found != null
        && !(found instanceof Scalar scalar
            && List.of(values).contains(String.valueOf(scalar.value())))) {
      throw new InputException(
          path(key)
              + " is "
              + found.shortly()
              + "; "
              + why
              + ", so that only "
              + String.join(", ", values)
              + (values.length == 1 ? " is" : " are")
              + " accepted");
    }
  }

  /**
   * Ends the reading.
   *
   * @throws InputException naming the first key that nobody asked for
   */
  public void done() {
    for (String key : keys()) {
      if (!asked.contains(key)) {
        throw new InputException(
            path(key)
                + ": the configuration of "
                + (path.isEmpty() ? "a run" : path)
                + " has no such key"
                + NearestNames.of(
                    key, asked.stream().filter(name -> !name.startsWith("_")).toList()));
      }
    }
  }

  /** Names that do not begin and end with an underscore, in order. */
  public List<String> regularKeys() {
    List<String> regular = new ArrayList<>(keys());
    regular.removeIf(key -> key.startsWith("_") && key.endsWith("_"));
    return regular;
  }
}
