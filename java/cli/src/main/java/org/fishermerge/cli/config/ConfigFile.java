package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;

/**
 * One YAML file: its defaults list, and the rest of it.
 *
 * @param origin names the file in messages
 * @param header what {@code # @package} in its head names; empty where there is none
 * @param defaults empty where there is no list
 */
record ConfigFile(String origin, Optional<String> header, List<Default> defaults, Mapping content) {
  private static final Pattern HEADER = Pattern.compile("^#\\s*@package\\s+(\\S+)\\s*$");

  /** An entry of a defaults list. */
  sealed interface Default {
    /** {@code _self_}: the place of the file's own content. */
    record Self() implements Default {}

    /**
     * A file by its path; relative to the group of the file that lists it, unless it begins with /.
     */
    record File(String path, @Nullable String toPackage, boolean optional) implements Default {}

    /**
     * Options of a group.
     *
     * @param options in order; none is taken where the list is empty
     * @param isOverride changes what another entry chooses, wherever that is
     * @param missing the user must choose
     */
    record Group(
        String group,
        @Nullable String toPackage,
        List<String> options,
        boolean isList,
        boolean optional,
        boolean isOverride,
        boolean missing)
        implements Default {}
  }

  static ConfigFile parse(String text, String origin) {
    Mapping all = Yaml.parse(text, origin);
    List<Default> defaults = new ArrayList<>();
    ConfigValue list = all.entries().get("defaults");
    if (list instanceof Sequence entries) {
      entries.items().forEach(entry -> defaults.add(entry(entry, origin)));
    } else if (list != null) {
      throw new InputException(origin + ": defaults must be a list, as in \"- group: option\"");
    }
    return new ConfigFile(origin, header(text), defaults, all.without("defaults"));
  }

  private static Optional<String> header(String text) {
    for (String line : text.lines().toList()) {
      Matcher matcher = HEADER.matcher(line.strip());
      if (matcher.matches()) {
        return Optional.of(matcher.group(1));
      }
      if (!line.isBlank() && !line.startsWith("#")) {
        break;
      }
    }
    return Optional.empty();
  }

  private static Default entry(ConfigValue entry, String origin) {
    if (entry instanceof Scalar scalar && scalar.value() instanceof String text) {
      if (text.equals("_self_")) {
        return new Default.Self();
      }
      Named named = Named.of(text, origin);
      return new Default.File(named.path, named.toPackage, named.optional);
    }
    if (entry instanceof Mapping mapping && mapping.entries().size() == 1) {
      Map.Entry<String, ConfigValue> only = mapping.entries().entrySet().iterator().next();
      Named named = Named.of(only.getKey(), origin);
      ConfigValue chosen = only.getValue();
      return new Default.Group(
          named.path,
          named.toPackage,
          options(chosen, named.path, origin),
          chosen instanceof Sequence,
          named.optional,
          named.isOverride,
          chosen instanceof Scalar scalar && scalar.isMissing());
    }
    throw new InputException(
        origin
            + ": an entry of defaults is "
            + entry.shortly()
            + "; expected _self_, a file's name, or \"group: option\"");
  }

  private static List<String> options(ConfigValue chosen, String group, String origin) {
    return switch (chosen) {
      case Scalar scalar when scalar.isMissing() || scalar.value() == null -> List.of();
      case Scalar scalar -> List.of(String.valueOf(scalar.value()));
      case Sequence list ->
          list.items().stream().flatMap(item -> options(item, group, origin).stream()).toList();
      case Mapping mapping ->
          throw new InputException(
              origin + ": defaults of " + group + ": expected an option or a list of options");
    };
  }

  /** {@code [optional] [override] path[@package]}. */
  private record Named(
      String path, @Nullable String toPackage, boolean optional, boolean isOverride) {
    static Named of(String text, String origin) {
      String rest = text;
      boolean optional = false;
      boolean isOverride = false;
      for (int space = rest.indexOf(' '); space >= 0; space = rest.indexOf(' ')) {
        switch (rest.substring(0, space)) {
          case "optional" -> optional = true;
          case "override" -> isOverride = true;
          default ->
              throw new InputException(
                  origin
                      + ": \""
                      + text
                      + "\" in defaults: expected optional or override, then"
                      + " a name without spaces");
        }
        rest = rest.substring(space + 1).strip();
      }
      if (rest.contains("${")) {
        throw new InputException(
            origin + ": \"" + text + "\": defaults take no interpolations here");
      }
      int at = rest.indexOf('@');
      return at < 0
          ? new Named(rest, null, optional, isOverride)
          : new Named(rest.substring(0, at), rest.substring(at + 1), optional, isOverride);
    }
  }
}
