package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/** YAML 1.2, in and out. */
final class Yaml {
  static final int MOST_LEVELS = 100;

  /** Of lists and mappings: aliases of aliases grow with their power. */
  private static final int MOST_ALIASES = 20;

  private Yaml() {}

  /**
   * Parses a file; an empty one is an empty mapping.
   *
   * @throws InputException if it is no YAML, has a key twice, or is no mapping
   */
  static Mapping parse(String text, String origin) {
    @Nullable Object loaded;
    try {
      loaded =
          new Load(
                  LoadSettings.builder()
                      .setLabel(origin)
                      .setSchema(new CoreSchema())
                      .setAllowDuplicateKeys(false)
                      .setMaxAliasesForCollections(MOST_ALIASES)
                      .build())
              .loadFromString(text);
    } catch (RuntimeException e) {
      // Some mistakes escape the parser as other exceptions than its own.
      throw new InputException(origin + ": not valid YAML: " + reason(e), e);
    } catch (StackOverflowError e) {
      // The parser has no limit of its own.
      throw tooDeep(origin);
    }
    if (loaded == null) {
      return Mapping.EMPTY;
    }
    if (value(loaded, origin, 0) instanceof Mapping mapping) {
      return mapping;
    }
    throw new InputException(origin + ": expected keys with values, as in \"key: value\"");
  }

  private static String reason(RuntimeException e) {
    if (e instanceof MarkedYamlEngineException marked) {
      return marked.getProblem()
          + marked
              .getProblemMark()
              .map(mark ->
                  ", at line %d, column %d".formatted(mark.getLine() + 1, mark.getColumn() + 1))
              .orElse("");
    }
    return String.valueOf(e.getMessage());
  }

  private static InputException tooDeep(String origin) {
    return new InputException(
        "%s: not valid YAML: nested deeper than %d levels, or inside itself"
            .formatted(origin, MOST_LEVELS));
  }

  private static ConfigValue value(@Nullable Object loaded, String origin, int depth) {
    if (depth > MOST_LEVELS) {
      throw tooDeep(origin);
    }
    if (loaded instanceof Map<?, ?> map) {
      Map<String, ConfigValue> entries = new LinkedHashMap<>();
      map.forEach((key, item) -> entries.put(String.valueOf(key), value(item, origin, depth + 1)));
      return new Mapping(entries);
    }
    if (loaded instanceof Iterable<?> items) {
      List<ConfigValue> list = new ArrayList<>();
      items.forEach(item -> list.add(value(item, origin, depth + 1)));
      return new Sequence(list);
    }
    return new Scalar(loaded instanceof Integer number ? Long.valueOf(number) : loaded);
  }

  /** The value as YAML, ending in a line break. */
  static String print(ConfigValue value) {
    return new Dump(
            DumpSettings.builder()
                .setSchema(new CoreSchema())
                .setDefaultFlowStyle(FlowStyle.BLOCK)
                .setWidth(Integer.MAX_VALUE)
                .build())
        .dumpToString(value.plain());
  }
}
