package org.fishermerge.cli.config;

import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;

/**
 * Resolves <code>${...}</code> as OmegaConf does: <code>${a.b}</code> from the root, <code>${.b}
 * </code> beside the key, one level up for each further dot, and the resolvers {@code oc.env},
 * {@code now} and {@code hydra}.
 */
final class Interpolation {
  private static final String OPEN = "${";

  /** Far above any real configuration; an interpolation can double what another doubled. */
  private static final long MOST_CHARACTERS = 1 << 20;

  private static final Pattern SECRET =
      Pattern.compile("TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY", Pattern.CASE_INSENSITIVE);

  private final ConfigValue root;
  private final String configName;
  private final LocalDateTime now;
  private final UnaryOperator<@Nullable String> environment;
  private final Map<List<String>, ConfigValue> resolved = new HashMap<>();
  private final IdentityHashMap<ConfigValue, Long> sizes = new IdentityHashMap<>();
  private final Set<List<String>> underway = new LinkedHashSet<>();

  /**
   * @param configName gives {@code hydra:job.config_name}
   * @param now gives {@code now}
   * @param environment gives {@code oc.env}
   */
  Interpolation(
      ConfigValue root,
      String configName,
      LocalDateTime now,
      UnaryOperator<@Nullable String> environment) {
    this.root = root;
    this.configName = configName;
    this.now = now;
    this.environment = environment;
  }

  /** Where an interpolation that begins at {@code start} ends, exclusive; -1 if it does not. */
  static int end(String text, int start) {
    int depth = 0;
    for (int i = start; i < text.length(); i++) {
      if (text.startsWith(OPEN, i)) {
        depth++;
        i++;
      } else if (text.charAt(i) == '}' && --depth == 0) {
        return i + 1;
      }
    }
    return -1;
  }

  /**
   * The whole tree without interpolations.
   *
   * @throws InputException if one leads nowhere or to itself, or they make the tree huge
   */
  ConfigValue resolve() {
    try {
      return at(List.of());
    } catch (StackOverflowError e) {
      throw new InputException("the configuration's interpolations are nested too deep", e);
    }
  }

  private ConfigValue at(List<String> path) {
    ConfigValue known = resolved.get(path);
    if (known != null) {
      return known;
    }
    ConfigValue node = root.at(path).orElseThrow(() -> nothingAt(path));
    if (!underway.add(path)) {
      throw new InputException(
          "the interpolation at " + String.join(".", path) + " leads back to itself");
    }
    ConfigValue value =
        switch (node) {
          case Mapping mapping -> {
            Map<String, ConfigValue> entries = new LinkedHashMap<>();
            for (String key : mapping.entries().keySet()) {
              entries.put(key, at(append(path, key)));
            }
            yield new Mapping(entries);
          }
          case Sequence list -> {
            List<ConfigValue> items = new ArrayList<>();
            for (int i = 0; i < list.items().size(); i++) {
              items.add(at(append(path, Integer.toString(i))));
            }
            yield new Sequence(items);
          }
          case Scalar scalar when scalar.value() instanceof String text && text.contains(OPEN) ->
              text(text, path);
          case Scalar scalar -> scalar;
        };
    underway.remove(path);
    resolved.put(path, value);
    requireBounded(size(value), path);
    return value;
  }

  private static void requireBounded(long size, List<String> path) {
    if (size > MOST_CHARACTERS) {
      throw new InputException(
          "the interpolations at "
              + String.join(".", path)
              + " make it longer than "
              + MOST_CHARACTERS
              + " characters; each may repeat what others repeat, take some out");
    }
  }

  /** Characters and values, counted as often as they occur: what many places share as well. */
  private long size(ConfigValue value) {
    Long known = sizes.get(value);
    if (known != null) {
      return known;
    }
    long size =
        1
            + switch (value) {
              case Mapping mapping -> size(mapping.entries().values());
              case Sequence list -> size(list.items());
              case Scalar scalar -> String.valueOf(scalar.value()).length();
            };
    sizes.put(value, size);
    return size;
  }

  private long size(Collection<ConfigValue> values) {
    return values.stream().mapToLong(this::size).sum();
  }

  private InputException nothingAt(List<String> path) {
    List<String> found = new ArrayList<>();
    while (found.size() < path.size() && root.at(path.subList(0, found.size() + 1)).isPresent()) {
      found.add(path.get(found.size()));
    }
    Set<String> siblings =
        root.at(found).orElseThrow() instanceof Mapping mapping
            ? mapping.entries().keySet()
            : Set.of();
    return new InputException(
        "the configuration has no key "
            + String.join(".", path)
            + NearestNames.of(path.get(found.size()), siblings));
  }

  private static List<String> append(List<String> path, String key) {
    List<String> longer = new ArrayList<>(path);
    longer.add(key);
    return List.copyOf(longer);
  }

  /** A text with interpolations in it; alone, an interpolation keeps its type. */
  private ConfigValue text(String text, List<String> path) {
    StringBuilder out = new StringBuilder();
    int at = 0;
    for (int open = text.indexOf(OPEN); open >= 0; open = text.indexOf(OPEN, at)) {
      int end = end(text, open);
      if (end < 0) {
        throw problem(text, path, "the closing brace is missing");
      }
      ConfigValue value = inner(text.substring(open + OPEN.length(), end - 1).strip(), path);
      if (open == 0 && end == text.length()) {
        return value;
      }
      if (!(value instanceof Scalar scalar)) {
        throw problem(text, path, "a group of keys cannot be part of a text");
      }
      out.append(text, at, open).append(scalar.value());
      requireBounded(out.length(), path);
      at = end;
    }
    return new Scalar(out.append(text.substring(at)).toString());
  }

  private static InputException problem(String text, List<String> path, String what) {
    return new InputException(
        String.join(".", path) + ": the interpolation \"" + text + "\": " + what);
  }

  private ConfigValue inner(String expression, List<String> path) {
    int colon = expression.indexOf(':');
    if (colon >= 0 && !expression.startsWith(".")) {
      return call(expression.substring(0, colon), arguments(expression.substring(colon + 1)), path);
    }
    int dots = 0;
    while (dots < expression.length() && expression.charAt(dots) == '.') {
      dots++;
    }
    if (dots > path.size()) {
      throw problem(expression, path, "there are not so many levels above it");
    }
    List<String> target =
        new ArrayList<>(dots == 0 ? List.of() : path.subList(0, path.size() - dots));
    String rest = expression.substring(dots).replaceAll("\\[(\\w+)]", ".$1");
    if (!rest.isEmpty()) {
      target.addAll(List.of(rest.split("\\.", -1)));
    }
    return at(List.copyOf(target));
  }

  /** Splits at commas outside of braces and quotes. */
  private static List<String> arguments(String text) {
    List<String> arguments = new ArrayList<>();
    int depth = 0;
    char quote = 0;
    int start = 0;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (quote != 0) {
        quote = c == quote ? 0 : quote;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '{') {
        depth++;
      } else if (c == '}') {
        depth--;
      } else if (c == ',' && depth == 0) {
        arguments.add(text.substring(start, i).strip());
        start = i + 1;
      }
    }
    arguments.add(text.substring(start).strip());
    return arguments;
  }

  private ConfigValue argument(String text, List<String> path) {
    if (text.length() >= 2
        && (text.startsWith("\"") || text.startsWith("'"))
        && text.charAt(text.length() - 1) == text.charAt(0)) {
      return text(text.substring(1, text.length() - 1), path);
    }
    return text.contains(OPEN) ? text(text, path) : new Scalar(OverrideParser.typed(text));
  }

  private ConfigValue call(String resolver, List<String> arguments, List<String> path) {
    return switch (resolver) {
      case "oc.env" -> {
        if (SECRET.matcher(arguments.getFirst()).find()) {
          throw problem(
              "oc.env:" + arguments.getFirst(),
              path,
              "not read: by its name it holds a secret, and configurations go into reports");
        }
        String value = environment.apply(arguments.getFirst());
        if (value == null && arguments.size() < 2) {
          throw new InputException(
              String.join(".", path)
                  + ": the environment variable "
                  + arguments.getFirst()
                  + " is not set");
        }
        yield value != null ? new Scalar(value) : argument(arguments.get(1), path);
      }
      case "now" -> new Scalar(now.format(pattern(String.join(",", arguments), path)));
      case "hydra" ->
          switch (arguments.getFirst()) {
            case "job.config_name" -> new Scalar(configName);
            case "runtime.cwd" -> new Scalar(Path.of("").toAbsolutePath().toString());
            default -> throw unknown(resolver + ":" + arguments.getFirst(), path);
          };
      default -> throw unknown(resolver, path);
    };
  }

  private static InputException unknown(String what, List<String> path) {
    return problem(
        what, path, "known are oc.env:NAME, now:FORMAT, hydra:job.config_name, hydra:runtime.cwd");
  }

  private static DateTimeFormatter pattern(String strftime, List<String> path) {
    StringBuilder pattern = new StringBuilder();
    for (int i = 0; i < strftime.length(); i++) {
      char c = strftime.charAt(i);
      if (c == '%' && i + 1 < strftime.length()) {
        pattern.append(
            switch (strftime.charAt(++i)) {
              case 'Y' -> "uuuu";
              case 'm' -> "MM";
              case 'd' -> "dd";
              case 'H' -> "HH";
              case 'M' -> "mm";
              case 'S' -> "ss";
              case 'f' -> "SSSSSS";
              default -> throw problem(strftime, path, "known are %Y %m %d %H %M %S %f");
            });
      } else {
        pattern.append(c == '\'' ? "''" : "'" + c + "'");
      }
    }
    return DateTimeFormatter.ofPattern(pattern.toString(), Locale.ROOT);
  }
}
