package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a config.json says about the weights beside it: of which kinds of model they are, whether
 * some are tied, and whether they are quantised. Architectures read the rest themselves.
 *
 * @param parts the model's own configuration and those nested in it ({@code text_config}, {@code
 *     decoder}, ...), outermost first
 * @param quantization the method that {@code quantization_config} names, or MLX's {@code
 *     quantization}; null if there is neither
 */
record WeightConfig(Path file, List<Part> parts, @Nullable String quantization) {
  /** As Python reads it: NaN and Infinity are numbers, and of two equal keys the last counts. */
  private static final JsonFactory FACTORY =
      JsonFactory.builder().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).build();

  private static final String QUANTIZATION = "quantization_config";

  /**
   * A configuration.
   *
   * @param modelType {@code model_type}; empty if it states none
   * @param tied {@code tie_word_embeddings}; null if it does not state it
   */
  record Part(String modelType, @Nullable Boolean tied) {}

  WeightConfig {
    parts = List.copyOf(parts);
  }

  /**
   * Reads a config.json.
   *
   * @throws InputException if it is no JSON object or cannot be read
   */
  static WeightConfig read(Path file) {
    Reader reader = new Reader();
    try (JsonParser parser = parser(file)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new InputException(file + ": expected a JSON object with the model's configuration");
      }
      reader.object(parser, true, false);
      StrictJson.expectEnd(parser);
    } catch (IOException e) {
      throw StrictJson.invalid(file, "the configuration", e);
    }
    return new WeightConfig(file, reader.parts, reader.quantization);
  }

  /** For any JSON file that Python's json module wrote. */
  static JsonParser parser(Path file) throws IOException {
    return FACTORY.createParser(InputFiles.bytes(file));
  }

  private static final class Reader {
    private final List<Part> parts = new ArrayList<>();
    private @Nullable String quantization;

    void object(JsonParser parser, boolean top, boolean quantizing) throws IOException {
      int place = parts.size();
      String type = "";
      Boolean tied = null;
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String key = parser.currentName();
        JsonToken value = parser.nextToken();
        if (value == JsonToken.START_OBJECT) {
          // MLX's key is too common a word to mean the same deeper down.
          boolean quantized = key.equals(QUANTIZATION) || (top && key.equals("quantization"));
          if (quantized && quantization == null) {
            quantization = key.equals(QUANTIZATION) ? "" : "mlx";
          }
          object(parser, false, quantized);
        } else if (value == JsonToken.START_ARRAY) {
          parser.skipChildren();
        } else if (key.equals("model_type") && value == JsonToken.VALUE_STRING) {
          type = parser.getText();
        } else if (key.equals("tie_word_embeddings") && value.isBoolean()) {
          tied = parser.getBooleanValue();
        } else if (quantizing && key.equals("quant_method") && value == JsonToken.VALUE_STRING) {
          quantization = parser.getText();
        }
      }
      if (!type.isEmpty() || tied != null) {
        parts.add(place, new Part(type, tied));
      }
    }
  }
}
