package org.fishermerge.torch;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;

/** A node of a model folder's config.json, read with messages that name the file and the key. */
record JsonConfig(Path file, String path, JsonNode node) {
  private static final JsonMapper MAPPER =
      new JsonMapper(InputFiles.JSON);

  static JsonConfig read(Path file) {
    try {
      JsonNode root = MAPPER.readTree(InputFiles.text(file));
      if (!root.isObject()) {
        throw new InputException(file + ": expected a JSON object with the model's configuration");
      }
      return new JsonConfig(file, "", root);
    } catch (JsonProcessingException e) {
      throw new InputException(file + ": not readable as JSON: " + InputFiles.jsonProblem(e), e);
    }
  }

  boolean has(String key) {
    return node.hasNonNull(key);
  }

  JsonConfig object(String key) {
    JsonNode child = node.get(key);
    if (child == null || !child.isObject()) {
      throw missing(key, "an object");
    }
    return new JsonConfig(file, path + key + ".", child);
  }

  int positive(String key) {
    JsonNode value = node.get(key);
    if (value == null || !value.canConvertToInt() || value.intValue() <= 0) {
      throw missing(key, "a positive integer");
    }
    return value.intValue();
  }

  int integer(String key, int absent) {
    JsonNode value = node.get(key);
    if (value == null || value.isNull()) {
      return absent;
    }
    if (!value.canConvertToInt()) {
      throw missing(key, "an integer");
    }
    return value.intValue();
  }

  double number(String key, double absent) {
    JsonNode value = node.get(key);
    if (value == null || value.isNull()) {
      return absent;
    }
    if (!value.isNumber()) {
      throw missing(key, "a number");
    }
    return value.doubleValue();
  }

  boolean flag(String key, boolean absent) {
    JsonNode value = node.get(key);
    if (value == null || value.isNull()) {
      return absent;
    }
    if (!value.isBoolean()) {
      throw missing(key, "true or false");
    }
    return value.booleanValue();
  }

  String text(String key, String absent) {
    JsonNode value = node.get(key);
    if (value == null || value.isNull()) {
      return absent;
    }
    if (!value.isTextual()) {
      throw missing(key, "a string");
    }
    return value.textValue();
  }

  private InputException missing(String key, String expected) {
    JsonNode value = node.get(key);
    return new InputException(
        file
            + ": key "
            + path
            + key
            + (value == null ? " is missing" : " is " + value)
            + "; expected "
            + expected);
  }
}
