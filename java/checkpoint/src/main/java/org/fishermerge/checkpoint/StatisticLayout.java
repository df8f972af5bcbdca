package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What kinds of statistics a file holds, and of which layers. A file that does not say is a Fisher
 * file: its tensors are named and shaped like the model's.
 *
 * @param kinds at least one
 * @param layers by the stored name of the weight; of the kinds that have factors
 */
public record StatisticLayout(Set<StatisticKind> kinds, Map<String, LinearLayer> layers) {
  /** A file with a value for each parameter. */
  public static final StatisticLayout DIAGONAL =
      new StatisticLayout(EnumSet.of(StatisticKind.DIAGONAL_FISHER), Map.of());

  static final String KINDS = "fisher_statistics";

  /** The name of the entry that names the layers. */
  public static final String LAYERS = "fisher_layers";

  private static final String OUTPUTS = "outputs";
  private static final String INPUTS = "inputs";
  private static final String TRANSPOSED = "transposed";
  private static final String TOKENS = "tokens";

  /** Copies both. */
  public StatisticLayout {
    kinds = Collections.unmodifiableSet(EnumSet.copyOf(kinds));
    layers = Collections.unmodifiableMap(new LinkedHashMap<>(layers));
  }

  /** Whether it is one of the kinds that old files may be. */
  boolean isPlain() {
    return equals(DIAGONAL);
  }

  /** Whether it is of the same kinds and layers, whatever the tokens. */
  public boolean hasShapeOf(StatisticLayout other) {
    return kinds.equals(other.kinds)
        && layers.keySet().equals(other.layers.keySet())
        && layers.entrySet().stream()
            .allMatch(entry ->
                entry
                    .getValue()
                    .hasShapeOf(Objects.requireNonNull(other.layers.get(entry.getKey()))));
  }

  /**
   * That of the sum of two statistics: the tokens of each layer add up.
   *
   * @throws IllegalArgumentException if they are not of the same kinds and layers
   */
  public StatisticLayout plus(StatisticLayout other) {
    if (!hasShapeOf(other)) {
      throw new IllegalArgumentException("statistics of other kinds or layers");
    }
    Map<String, LinearLayer> sums = new LinkedHashMap<>();
    layers.forEach((weight, layer) ->
        sums.put(
            weight,
            layer.withTokens(
                layer.tokens() + Objects.requireNonNull(other.layers.get(weight)).tokens())));
    return new StatisticLayout(kinds, sums);
  }

  /** The entries of the metadata; none for a plain Fisher file, which old versions read too. */
  public Map<String, String> toMap() {
    if (isPlain()) {
      return Map.of();
    }
    Map<String, String> map = new LinkedHashMap<>();
    map.put(KINDS, kinds.stream().map(StatisticKind::label).collect(Collectors.joining(",")));
    if (!layers.isEmpty()) {
      map.put(LAYERS, layersText());
    }
    return map;
  }

  private String layersText() {
    StringWriter out = new StringWriter();
    try (JsonGenerator json = StrictJson.FACTORY.createGenerator(out)) {
      json.writeStartObject();
      for (Map.Entry<String, LinearLayer> entry : layers.entrySet()) {
        LinearLayer layer = entry.getValue();
        json.writeObjectFieldStart(entry.getKey());
        json.writeNumberField(OUTPUTS, layer.outputs());
        json.writeNumberField(INPUTS, layer.inputs());
        json.writeBooleanField(TRANSPOSED, layer.transposed());
        json.writeNumberField(TOKENS, layer.tokens());
        json.writeEndObject();
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing JSON to memory", e);
    }
    return out.toString();
  }

  /** What messages call such a file. */
  public String fileTitle() {
    return kinds.stream().map(StatisticKind::fileTitle).collect(Collectors.joining(" and "));
  }

  /**
   * Of a file's metadata.
   *
   * @throws InputException if an entry is malformed, or the two contradict each other
   */
  public static StatisticLayout from(SafetensorsHeader header) {
    String labels = header.metadata().get(KINDS);
    if (labels == null) {
      if (header.metadata().containsKey(LAYERS)) {
        throw problem(header, LAYERS + " is there, but not " + KINDS);
      }
      return DIAGONAL;
    }
    EnumSet<StatisticKind> kinds = EnumSet.noneOf(StatisticKind.class);
    for (String label : labels.split(",", -1)) {
      kinds.add(
          StatisticKind.of(label)
              .orElseThrow(() ->
                  problem(
                      header,
                      KINDS
                          + " is "
                          + Messages.quote(labels)
                          + ", known are "
                          + StatisticKind.labels())));
    }
    String text = header.metadata().get(LAYERS);
    Map<String, LinearLayer> layers = text == null ? Map.of() : layers(header, text);
    boolean factors = kinds.stream().anyMatch(kind -> !kind.factors().isEmpty());
    if (factors == layers.isEmpty()) {
      throw problem(
          header,
          KINDS
              + " is "
              + Messages.quote(labels)
              + (factors ? ", but " + LAYERS + " names no layer" : ", which has no " + LAYERS));
    }
    return new StatisticLayout(kinds, layers);
  }

  private static Map<String, LinearLayer> layers(SafetensorsHeader header, String text) {
    Map<String, LinearLayer> layers = new LinkedHashMap<>();
    try (JsonParser json = StrictJson.parser(text.getBytes(StandardCharsets.UTF_8))) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        throw problem(header, LAYERS + " is no JSON object");
      }
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = StrictJson.text(json);
        layers.put(name, layer(header, name, json));
      }
      StrictJson.expectEnd(json);
    } catch (IOException e) {
      throw StrictJson.invalid(header.file(), LAYERS, e);
    }
    return layers;
  }

  private static LinearLayer layer(SafetensorsHeader header, String name, JsonParser json)
      throws IOException {
    Map<String, Long> numbers = new LinkedHashMap<>();
    Boolean transposed = null;
    Set<String> known = new HashSet<>(Set.of(OUTPUTS, INPUTS, TOKENS, TRANSPOSED));
    boolean sound = json.nextToken() == JsonToken.START_OBJECT;
    while (sound && json.nextToken() == JsonToken.FIELD_NAME) {
      String key = StrictJson.text(json);
      JsonToken value = json.nextToken();
      sound = known.remove(key);
      if (key.equals(TRANSPOSED)) {
        sound &= value.isBoolean();
        transposed = value == JsonToken.VALUE_TRUE;
      } else {
        sound &= value == JsonToken.VALUE_NUMBER_INT;
        if (sound) {
          numbers.put(key, json.getLongValue());
        }
      }
    }
    if (sound && known.isEmpty() && transposed != null) {
      try {
        return new LinearLayer(
            numbers.getOrDefault(OUTPUTS, 0L),
            numbers.getOrDefault(INPUTS, 0L),
            transposed,
            numbers.getOrDefault(TOKENS, -1L));
      } catch (IllegalArgumentException e) {
        throw problem(header, LAYERS + " has " + e.getMessage() + " at " + Messages.quote(name));
      }
    }
    throw problem(
        header,
        LAYERS
            + " needs outputs, inputs, transposed and tokens, and nothing else, at "
            + Messages.quote(name));
  }

  private static InputException problem(SafetensorsHeader header, String what) {
    return new InputException(header.file() + ": Fisher metadata: " + what);
  }
}
