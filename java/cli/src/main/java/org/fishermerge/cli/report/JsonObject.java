package org.fishermerge.cli.report;

import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The data of a figure. A page is often the last thing that a short command does: to load a library
 * of trees would take longer than to write the page.
 */
final class JsonObject {
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
    StringBuilder text = new StringBuilder();
    write(this, text);
    return text.toString();
  }

  private static void write(Object value, StringBuilder text) {
    switch (value) {
      case JsonObject object -> {
        text.append('{');
        object.members.forEach((name, member) -> {
          separate(text, '{');
          write(name, text);
          text.append(':');
          write(member, text);
        });
        text.append('}');
      }
      case JsonArray array -> {
        text.append('[');
        for (Object item : array.items) {
          separate(text, '[');
          write(item, text);
        }
        text.append(']');
      }
      case String string -> {
        text.append('"');
        JsonStringEncoder.getInstance().quoteAsString(string, text);
        text.append('"');
      }
      default -> text.append(value);
    }
  }

  private static void separate(StringBuilder text, char open) {
    if (text.charAt(text.length() - 1) != open) {
      text.append(',');
    }
  }
}
