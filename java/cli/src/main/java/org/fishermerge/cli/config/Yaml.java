package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.ConstructNode;
import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.common.SpecVersion;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;
import org.snakeyaml.engine.v2.nodes.Tag;
import org.snakeyaml.engine.v2.resolver.ScalarResolver;
import org.snakeyaml.engine.v2.schema.Schema;

/**
 * YAML as Hydra reads and writes it. Words mean what {@link HydraScalars} says, {@code <<} merges
 * keys of other mappings, and a key twice is an error.
 */
final class Yaml {
  static final int MOST_LEVELS = 100;

  /** Of lists and mappings: aliases of aliases grow with their power. */
  private static final int MOST_ALIASES = 20;

  private static final String MERGE = "<<";

  /** Merging is done here and not by the parser, which has another order of keys. */
  private static final Schema READING =
      new Words(
          (text, implicit) -> text.equals(MERGE) ? Tag.STR : HydraScalars.resolve(text, implicit));

  private static final Schema PRINTING =
      new Words((text, implicit) ->
          implicit && text.equals(MERGE) ? Tag.MERGE : HydraScalars.resolve(text, implicit));

  /** What words stand for. Values are made here, from the nodes, and not by the parser. */
  private record Words(ScalarResolver resolver) implements Schema {
    @Override
    public ScalarResolver getScalarResolver() {
      return resolver;
    }

    @Override
    public Map<Tag, ConstructNode> getSchemaTagConstructors() {
      return Map.of();
    }
  }

  private final String origin;

  private Yaml(String origin) {
    this.origin = origin;
  }

  /**
   * Parses a file; an empty one is an empty mapping.
   *
   * @throws InputException if it is no YAML, has a key twice, or is no mapping
   */
  static Mapping parse(String text, String origin) {
    Node root;
    try {
      root =
          new Compose(
                  LoadSettings.builder()
                      .setLabel(origin)
                      .setSchema(READING)
                      .setAllowNonScalarKeys(true) // refused here, in other words
                      .setVersionFunction(Yaml::known)
                      .setMaxAliasesForCollections(MOST_ALIASES)
                      .build())
              .composeString(text)
              .orElse(null);
    } catch (RuntimeException e) {
      // Some mistakes escape the parser as other exceptions than its own.
      throw new InputException(origin + ": not valid YAML: " + reason(e), e);
    } catch (StackOverflowError e) {
      // The parser has no limit of its own.
      throw tooDeep(origin);
    }
    ConfigValue value = root == null ? Scalar.NULL : new Yaml(origin).value(root, 0);
    if (value.equals(Scalar.NULL)) {
      return Mapping.EMPTY;
    }
    if (value instanceof Mapping mapping) {
      return mapping;
    }
    throw new InputException(origin + ": expected keys with values, as in \"key: value\"");
  }

  private static SpecVersion known(SpecVersion version) {
    if (version.getMajor() != 1) {
      throw new IllegalArgumentException("its %YAML line names a version other than 1.1 and 1.2");
    }
    return version;
  }

  private static String reason(RuntimeException e) {
    if (e instanceof MarkedYamlEngineException marked) {
      return String.valueOf(marked.getProblem())
          + marked.getProblemMark().map(mark -> place(mark.getLine(), mark.getColumn())).orElse("");
    }
    return Reasons.of(e);
  }

  private static String place(int line, int column) {
    return ", at line %d, column %d".formatted(line + 1, column + 1);
  }

  private static InputException tooDeep(String origin) {
    return new InputException(
        "%s: not valid YAML: nested deeper than %d levels, or inside itself"
            .formatted(origin, MOST_LEVELS));
  }

  private InputException invalid(Node node, String problem) {
    return new InputException(
        origin
            + ": not valid YAML: "
            + problem
            + node.getStartMark().map(mark -> place(mark.getLine(), mark.getColumn())).orElse(""));
  }

  private ConfigValue value(Node node, int depth) {
    if (depth > MOST_LEVELS) {
      throw tooDeep(origin);
    }
    Tag tag = node.getTag();
    if (node instanceof MappingNode mapping && tag.equals(Tag.MAP)) {
      return new Mapping(entries(mapping, depth));
    }
    if (node instanceof SequenceNode list && tag.equals(Tag.SEQ)) {
      List<ConfigValue> items = new ArrayList<>();
      list.getValue().forEach(item -> items.add(value(item, depth + 1)));
      return new Sequence(items);
    }
    if (node instanceof ScalarNode scalar) {
      return new Scalar(scalar(scalar));
    }
    throw unknownTag(node);
  }

  private InputException unknownTag(Node node) {
    return invalid(node, "the tag " + node.getTag().getValue() + " has no meaning here");
  }

  private @Nullable Object scalar(ScalarNode node) {
    Tag tag = node.getTag();
    if (isMerge(node)) {
      throw invalid(node, "<< is a key of mappings only; put quotes around it");
    }
    if (!Set.of(Tag.STR, Tag.NULL, Tag.BOOL, Tag.INT, Tag.FLOAT).contains(tag)) {
      throw unknownTag(node);
    }
    try {
      return HydraScalars.value(tag, node.getValue());
    } catch (IllegalArgumentException e) {
      throw invalid(node, "\"" + node.getValue() + "\" is no value of the type that its form says");
    }
  }

  /** What is merged comes first, and a mapping's own entries go before it. */
  private Map<String, ConfigValue> entries(MappingNode mapping, int depth) {
    Map<String, ConfigValue> entries = new LinkedHashMap<>();
    Map<String, ConfigValue> own = new LinkedHashMap<>();
    Set<String> keys = new HashSet<>();
    for (NodeTuple tuple : mapping.getValue()) {
      Node key = tuple.getKeyNode();
      if (isMerge(key)) {
        merged(tuple.getValueNode(), depth + 1).forEach(entries::put);
        continue;
      }
      String name = key(key);
      if (!keys.add(name)) {
        throw invalid(key, "found duplicate key " + name);
      }
      own.put(name, value(tuple.getValueNode(), depth + 1));
    }
    entries.putAll(own);
    return entries;
  }

  private static boolean isMerge(Node node) {
    return node instanceof ScalarNode scalar && scalar.isPlain() && scalar.getValue().equals(MERGE);
  }

  private Map<String, ConfigValue> merged(Node node, int depth) {
    if (depth > MOST_LEVELS) {
      throw tooDeep(origin);
    }
    if (node instanceof MappingNode mapping) {
      return entries(mapping, depth);
    }
    Map<String, ConfigValue> merged = new LinkedHashMap<>();
    if (node instanceof SequenceNode list
        && list.getValue().stream().allMatch(MappingNode.class::isInstance)) {
      // What stands earlier counts.
      list.getValue().reversed().forEach(item -> merged.putAll(merged(item, depth + 1)));
      return merged;
    }
    throw invalid(node, "<< merges a mapping or a list of mappings");
  }

  private String key(Node node) {
    if (node instanceof ScalarNode scalar) {
      Object value = scalar(scalar);
      if (value instanceof String || value instanceof Number) {
        return String.valueOf(value);
      }
      throw invalid(
          node,
          "the key \""
              + scalar.getValue()
              + "\" is read as "
              + value
              + "; put quotes around it to use it as a name");
    }
    throw invalid(node, "a key is a list or a mapping; expected a name");
  }

  /** The value as YAML, ending in a line break. */
  static String print(ConfigValue value) {
    return new Dump(
            DumpSettings.builder()
                .setSchema(PRINTING)
                .setDefaultFlowStyle(FlowStyle.BLOCK)
                .setWidth(Integer.MAX_VALUE)
                .build())
        .dumpToString(value.plain());
  }
}
