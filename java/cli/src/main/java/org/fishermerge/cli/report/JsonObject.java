package org.fishermerge.cli.report;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The data of a figure. A page is often the last thing that a short command does: to load Jackson's
 * trees, in place of its generator alone, would take longer than to write the page.
 */
final class JsonObject {
  private static final JsonFactory JSON = new JsonFactory();

  private final Map<String, Object> members = new LinkedHashMap<>();

  /** An array of objects, of arrays, or of texts and finite numbers. */
  static final class JsonArray {
    private final List<Object> items = new ArrayList<>();

    JsonArray add(Object item) {
      items.add(item);
      return this;
    }

    JsonObject addObject() {
      JsonObject object = new JsonObject();
      items.add(object);
      return object;
    }

    JsonArray addArray() {
      JsonArray array = new JsonArray();
      items.add(array);
      return array;
    }
  }

  /** A member: a text, a truth value, or a finite number. */
  JsonObject put(String name, Object value) {
    members.put(name, value);
    return this;
  }

  JsonArray putArray(String name) {
    JsonArray array = new JsonArray();
    members.put(name, array);
    return array;
  }

  @Override
  public String toString() {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JSON.createGenerator(text)) {
      write(this, json);
    } catch (IOException e) {
      throw new UncheckedIOException("to memory", e);
    }
    return text.toString();
  }

  private static void write(Object value, JsonGenerator json) throws IOException {
    switch (value) {
      case JsonObject object -> {
        json.writeStartObject();
        for (Map.Entry<String, Object> member : object.members.entrySet()) {
          json.writeFieldName(member.getKey());
          write(member.getValue(), json);
        }
        json.writeEndObject();
      }
      case JsonArray array -> {
        json.writeStartArray();
        for (Object item : array.items) {
          write(item, json);
        }
        json.writeEndArray();
      }
      default -> json.writePOJO(value); // a text, a truth value or a number
    }
  }
}
