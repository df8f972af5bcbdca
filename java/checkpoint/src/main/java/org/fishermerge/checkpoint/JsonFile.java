package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Whole settings files as maps, lists, strings, {@link Boolean}, {@link BigDecimal}, null, and
 * {@link Double} for the NaN and Infinity that Python writes.
 */
public final class JsonFile {
  private JsonFile() {}

  /**
   * The object that a file holds, in order of its keys.
   *
   * @throws InputException if it cannot be read, is not strict JSON but for NaN and Infinity, or
   *     holds something else than an object
   */
  public static Map<String, @Nullable Object> object(Path file) {
    return object(file, InputFiles.bytes(file));
  }

  static Map<String, @Nullable Object> object(Path file, byte[] utf8) {
    try (JsonParser parser = StrictJson.settingsParser(utf8)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new InputException(file + ": expected a JSON object");
      }
      Map<String, @Nullable Object> object = map(parser);
      StrictJson.expectEnd(parser);
      return object;
    } catch (IOException e) {
      throw StrictJson.invalid(file, "the file", e);
    }
  }

  private static Map<String, @Nullable Object> map(JsonParser parser) throws IOException {
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      parser.nextToken();
      map.put(key, value(parser));
    }
    return map;
  }

  private static @Nullable Object value(JsonParser parser) throws IOException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> map(parser);
      case START_ARRAY -> {
        List<@Nullable Object> list = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          list.add(value(parser));
        }
        yield list;
      }
      case VALUE_NUMBER_INT -> parser.getDecimalValue();
      case VALUE_NUMBER_FLOAT ->
          parser.isNaN() ? (Object) parser.getDoubleValue() : parser.getDecimalValue();
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case VALUE_NULL -> null;
      default -> parser.getText();
    };
  }

  /** A value as JSON text, cut if long, for messages. */
  public static String text(@Nullable Object value) {
    StringBuilder text = new StringBuilder();
    append(text, value);
    return text.length() <= Messages.MAX_QUOTED
        ? text.toString()
        : text.substring(0, Messages.MAX_QUOTED) + "...";
  }

  private static void append(StringBuilder text, @Nullable Object value) {
    if (text.length() > Messages.MAX_QUOTED) {
      return;
    }
    switch (value) {
      case null -> text.append("null");
      case String string -> text.append(Messages.quote(string));
      case Map<?, ?> map -> {
        text.append('{');
        String separator = "";
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          text.append(separator)
              .append(Messages.quote(String.valueOf(entry.getKey())))
              .append(": ");
          append(text, entry.getValue());
          separator = ", ";
        }
        text.append('}');
      }
      case List<?> list -> {
        text.append('[');
        String separator = "";
        for (Object element : list) {
          text.append(separator);
          append(text, element);
          separator = ", ";
        }
        text.append(']');
      }
      default -> text.append(value);
    }
  }
}
