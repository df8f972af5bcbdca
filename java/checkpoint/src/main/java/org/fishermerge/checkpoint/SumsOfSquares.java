package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The sum of squares of each tensor of a Fisher file, as an entry of its metadata: a JSON object of
 * numbers by stored name. A merge that normalises by norms takes them from here, and so reads the
 * Fishers once; it checks them against the data while it does.
 */
public final class SumsOfSquares {
  /** The name of the entry. */
  public static final String KEY = "fisher_sums_of_squares";

  private SumsOfSquares() {}

  /** The value of the entry. */
  public static String text(Map<String, Double> byStoredName) {
    StringWriter out = new StringWriter();
    try (JsonGenerator json = StrictJson.FACTORY.createGenerator(out)) {
      json.writeStartObject();
      for (Map.Entry<String, Double> entry : byStoredName.entrySet()) {
        json.writeNumberField(entry.getKey(), entry.getValue());
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing JSON to memory", e);
    }
    return out.toString();
  }

  /**
   * By stored name; empty if the file has no such entry.
   *
   * @throws InputException if it is malformed, or a sum is negative or not finite
   */
  static Map<String, Double> from(SafetensorsHeader header) {
    String text = header.metadata().get(KEY);
    if (text == null) {
      return Map.of();
    }
    Map<String, Double> sums = new LinkedHashMap<>();
    try (JsonParser json = StrictJson.parser(text.getBytes(StandardCharsets.UTF_8))) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        throw malformed(header, "is no JSON object");
      }
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = StrictJson.text(json);
        JsonToken value = json.nextToken();
        double sum = value.isNumeric() ? json.getDoubleValue() : Double.NaN;
        if (!(sum >= 0 && sum <= Double.MAX_VALUE)) {
          throw malformed(
              header, "is not a finite number of 0 or more for " + Messages.quote(name));
        }
        sums.put(name, sum);
      }
      StrictJson.expectEnd(json);
    } catch (IOException e) {
      throw StrictJson.invalid(header.file(), KEY, e);
    }
    return sums;
  }

  private static InputException malformed(SafetensorsHeader header, String what) {
    return new InputException(header.file() + ": Fisher metadata: " + KEY + " " + what);
  }
}
