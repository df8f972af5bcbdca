package org.fishermerge.cli.config;

import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;

/** A configuration: files merged in the order of their defaults lists, then overrides. */
public final class Composition {
  /** The file that a configuration starts from unless another is named. */
  public static final String ROOT = "fabric_model_fusion";

  private final String configName;
  private final List<String> notes = new ArrayList<>();
  private ConfigValue config = Mapping.EMPTY;

  private Composition(String configName) {
    this.configName = configName;
  }

  /**
   * Composes.
   *
   * @param configName the file to start from, with or without its suffix
   * @param overrides as on the command line
   * @throws InputException for the first thing that is wrong
   */
  public static Composition of(ConfigTree tree, String configName, List<String> overrides) {
    Composition composition = new Composition(ConfigTree.name(configName));
    List<ConfigOverride> groups = new ArrayList<>();
    List<ConfigOverride> values = new ArrayList<>();
    for (String text : overrides) {
      ConfigOverride override = OverrideParser.parse(text);
      if (override.key().matches(Defaults.HYDRA + "([./].*)?")) {
        throw new InputException(
            text
                + ": Hydra itself does not run here, so it has no settings; path.log_dir is the"
                + " folder of a run");
      }
      if (tree.isGroup(override.key()) && !(override.value() instanceof Mapping)) {
        groups.add(override);
      } else if (override.toPackage() != null || override.key().contains("/")) {
        throw new InputException(
            text
                + ": there is no group "
                + override.key()
                + NearestNames.of(override.key(), tree.groups()));
      } else {
        values.add(override);
      }
    }
    for (Defaults.Step step : Defaults.of(tree, configName, groups)) {
      ConfigValue content =
          step.toPackage().isEmpty()
              ? step.file().content()
              : Mapping.EMPTY.with(path(step.toPackage()), step.file().content());
      composition.config = ((Mapping) composition.config).merge((Mapping) content);
    }
    values.forEach(composition::apply);
    return composition;
  }

  private static List<String> path(String key) {
    return List.of(key.split("\\.", -1));
  }

  private void apply(ConfigOverride override) {
    String key = override.key();
    Optional<ConfigValue> existing = config.at(path(key));
    boolean mayBeNew =
        override.kind() == ConfigOverride.Kind.ADD || override.kind() == ConfigOverride.Kind.FORCE;
    if (existing.isEmpty() && !mayBeNew) {
      String present =
          OldNames.presentKey(override.key(), config)
              .orElseThrow(() -> unknown(override, path(override.key())));
      notes.add(key + " is now called " + present);
      key = present;
      existing = config.at(path(key));
    }
    ConfigValue value = override.value();
    switch (override.kind()) {
      case DELETE -> {
        if (value != null && !existing.equals(Optional.of(value))) {
          throw new InputException(
              override.text()
                  + ": its value is "
                  + existing.map(ConfigValue::shortly).orElse("missing")
                  + "; ~"
                  + key
                  + " leaves it out whatever it is");
        }
        delete(path(key));
        return;
      }
      case ADD -> {
        boolean taken =
            existing.isPresent() && !(existing.get() instanceof Scalar s && s.value() == null);
        if (taken && value instanceof Scalar) {
          throw new InputException(
              override.text() + ": the key exists; leave the + out to change it, or use ++");
        }
      }
      case SET, FORCE -> {}
    }
    if (value == null) {
      throw new IllegalStateException("only a deletion has no value: " + override.text());
    }
    if (existing.orElse(null) instanceof Mapping before && value instanceof Mapping more) {
      if (!mayBeNew) {
        requireKnown(override, key, before, more);
      }
      value = before.merge(more);
    }
    config = config.with(path(key), value);
  }

  private void requireKnown(ConfigOverride override, String key, Mapping known, Mapping changes) {
    changes
        .entries()
        .forEach((name, value) -> {
          ConfigValue before = known.entries().get(name);
          if (before == null) {
            throw unknown(override, path(key + "." + name));
          }
          if (before instanceof Mapping below && value instanceof Mapping more) {
            requireKnown(override, key + "." + name, below, more);
          }
        });
  }

  private void delete(List<String> path) {
    List<String> parent = path.subList(0, path.size() - 1);
    String last = path.getLast();
    ConfigValue holder = config.at(parent).orElseThrow();
    ConfigValue without =
        switch (holder) {
          case Mapping mapping -> mapping.without(last);
          case Sequence list -> {
            List<ConfigValue> items = new ArrayList<>(list.items());
            items.remove(Integer.parseInt(last));
            yield new Sequence(items);
          }
          case Scalar scalar -> scalar;
        };
    config = config.with(parent, without);
  }

  private InputException unknown(ConfigOverride override, List<String> path) {
    int known = 0;
    while (config.at(path.subList(0, known + 1)).isPresent()) {
      known++;
    }
    String parent = String.join(".", path.subList(0, known));
    String what =
        override.text()
            + ": "
            + (known == 0 ? "there is no key " : parent + " has no key ")
            + path.get(known);
    return switch (config.at(path.subList(0, known)).orElseThrow()) {
      case Mapping mapping ->
          new InputException(what + NearestNames.of(path.get(known), mapping.entries().keySet()));
      case ConfigValue other -> new InputException(what + "; " + parent + " is " + other.shortly());
    };
  }

  ConfigValue config() {
    return config;
  }

  /** The file that the configuration started from. */
  public String configName() {
    return configName;
  }

  /** What the user may want to know: which old names were understood. */
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /**
   * The configuration as YAML, as composed.
   *
   * @param toPackage a path with dots of the part that is wanted; null for all
   */
  public String yaml(@Nullable String toPackage) {
    return print(config, toPackage);
  }

  /** The same without interpolations. */
  public String resolvedYaml(
      @Nullable String toPackage, LocalDateTime now, UnaryOperator<@Nullable String> environment) {
    return print(resolve(now, environment), toPackage);
  }

  private static String print(ConfigValue config, @Nullable String toPackage) {
    if (toPackage == null || toPackage.equals(Defaults.GLOBAL)) {
      return Yaml.print(config);
    }
    ConfigValue part =
        config
            .at(path(toPackage))
            .orElseThrow(() ->
                new InputException(
                    "--package " + toPackage + ": the configuration has no such key"));
    // As Hydra has it, a single value stands alone.
    return (part instanceof Scalar ? "" : "# @package " + toPackage + "\n") + Yaml.print(part);
  }

  /**
   * The configuration without interpolations, to be read key by key.
   *
   * @param now what {@code now} means
   * @param environment what {@code oc.env} reads
   * @throws InputException if an interpolation leads nowhere or to itself
   */
  public Section resolved(LocalDateTime now, UnaryOperator<@Nullable String> environment) {
    return new Section("", (Mapping) resolve(now, environment));
  }

  private ConfigValue resolve(LocalDateTime now, UnaryOperator<@Nullable String> environment) {
    return new Interpolation(config, configName, now, environment).resolve();
  }
}
