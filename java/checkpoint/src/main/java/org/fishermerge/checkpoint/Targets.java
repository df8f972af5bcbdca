package org.fishermerge.checkpoint;

import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;

/**
 * Which modules of a model an adapter's configuration asks for, by the rules of PEFT's {@code
 * check_target_module_exists}. Immutable.
 */
final class Targets {
  /** The index of a layer is the first number between dots. */
  private static final Pattern LAYER = Pattern.compile(".*?\\.[^.]*\\.(\\d+)\\.");

  private final Names wanted;
  private final @Nullable Names excluded;
  private final List<Pattern> saved;
  private final Set<Integer> layers;
  private final List<Pattern> layerPatterns;

  /** Names, or one pattern for whole names. */
  private record Names(@Nullable Pattern pattern, List<String> names) {
    boolean match(String module) {
      return pattern != null
          ? pattern.matcher(module).matches()
          : names.stream().anyMatch(name -> module.equals(name) || module.endsWith("." + name));
    }
  }

  private Targets(
      Names wanted,
      @Nullable Names excluded,
      List<Pattern> saved,
      Set<Integer> layers,
      List<Pattern> layerPatterns) {
    this.wanted = wanted;
    this.excluded = excluded;
    this.saved = List.copyOf(saved);
    this.layers = Set.copyOf(layers);
    this.layerPatterns = List.copyOf(layerPatterns);
  }

  /** Empty if the targets are not told by names: none given, or all-linear. */
  static Optional<Targets> of(
      Path file,
      @Nullable Object targets,
      @Nullable Object excluded,
      List<String> saved,
      @Nullable Object layers,
      @Nullable Object layerPatterns) {
    if (targets == null || "all-linear".equals(targets)) {
      return Optional.empty();
    }
    Set<Integer> indices = new TreeSet<>();
    for (Object index : list(layers)) {
      if (!(index instanceof BigDecimal number) || number.stripTrailingZeros().scale() > 0) {
        throw new InputException(
            file
                + ": layers_to_transform holds "
                + JsonFile.text(index)
                + "; expected numbers of layers");
      }
      indices.add(number.intValue());
    }
    List<Pattern> places = new ArrayList<>();
    for (Object place : list(layerPatterns)) {
      places.add(pattern(file, "layers_pattern", "(?:^|.*?\\.)" + place + "\\.(\\d+)\\."));
    }
    List<Pattern> whole =
        saved.stream()
            .map(name -> pattern(file, "modules_to_save", "(^|.*\\.)" + name + "($|\\..*)"))
            .toList();
    return Optional.of(
        new Targets(
            names(file, "target_modules", targets),
            excluded == null ? null : names(file, "exclude_modules", excluded),
            whole,
            indices,
            places));
  }

  private static List<?> list(@Nullable Object value) {
    return value == null ? List.of() : value instanceof List<?> list ? list : List.of(value);
  }

  private static Names names(Path file, String key, @Nullable Object value) {
    if (value instanceof String text) {
      return new Names(pattern(file, key, text), List.of());
    }
    if (value instanceof List<?> list && list.stream().allMatch(String.class::isInstance)) {
      return new Names(null, list.stream().map(String.class::cast).toList());
    }
    throw new InputException(
        file
            + ": "
            + key
            + " is "
            + JsonFile.text(value)
            + "; expected a list of module names or one pattern");
  }

  /** A pattern in Python's spelling. */
  static Pattern pattern(Path file, String key, String regex) {
    try {
      return Pattern.compile(regex.replace("(?P<", "(?<"));
    } catch (PatternSyntaxException e) {
      throw new InputException(
          file
              + ": "
              + key
              + " holds "
              + Messages.quote(e.getPattern())
              + ", which is no regular expression: "
              + e.getDescription(),
          e);
    }
  }

  /** Whether a module of that name is to have an adapter. */
  boolean include(String module) {
    if ((excluded != null && excluded.match(module))
        || saved.stream().anyMatch(name -> name.matcher(module).lookingAt())
        || !wanted.match(module)) {
      return false;
    }
    if (layers.isEmpty() || wanted.pattern != null || wanted.names.contains(module)) {
      return true;
    }
    for (Pattern pattern : layerPatterns.isEmpty() ? List.of(LAYER) : layerPatterns) {
      Matcher matcher = pattern.matcher(module);
      if (matcher.lookingAt()) {
        return layers.contains(Integer.parseInt(matcher.group(matcher.groupCount())));
      }
    }
    return false;
  }
}
