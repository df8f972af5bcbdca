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

/** Numbers of 0 or more by stored name, as an entry of a file's metadata: a JSON object. */
final class StatedNumbers {
  private StatedNumbers() {}

  /** The value of the entry. */
  static String text(Map<String, Double> byStoredName) {
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
   * @throws InputException if it is malformed, or a number is negative or not finite
   */
  static Map<String, Double> from(SafetensorsHeader header, String key) {
    String text = header.metadata().get(key);
    if (text == null) {
      return Map.of();
    }
    Map<String, Double> numbers = new LinkedHashMap<>();
    try (JsonParser json = StrictJson.parser(text.getBytes(StandardCharsets.UTF_8))) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        throw malformed(header, key, "is no JSON object");
      }
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = StrictJson.text(json);
        JsonToken value = json.nextToken();
        double number = value.isNumeric() ? json.getDoubleValue() : Double.NaN;
        if (!(number >= 0 && number <= Double.MAX_VALUE)) {
          throw malformed(
              header, key, "is not a finite number of 0 or more for " + Messages.quote(name));
        }
        numbers.put(name, number);
      }
      StrictJson.expectEnd(json);
    } catch (IOException e) {
      throw StrictJson.invalid(header.file(), key, e);
    }
    return numbers;
  }

  private static InputException malformed(SafetensorsHeader header, String key, String what) {
    return new InputException(header.file() + ": Fisher metadata: " + key + " " + what);
  }
}
