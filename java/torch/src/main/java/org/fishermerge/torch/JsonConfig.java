package org.fishermerge.torch;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;

/** A node of a model folder's config.json, read with messages that name the file and the key. */
record JsonConfig(Path file, String path, JsonNode node) {
  private static final JsonMapper MAPPER =
      JsonMapper.builder(InputFiles.JSON)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

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

  /**
   * The names of the classes of a classification model, in order: those of {@code id2label}, or of
   * {@code label2id} where that is missing.
   *
   * @throws InputException if there is a name for some of the numbers from 0 on only
   */
  Optional<List<String>> classNames() {
    TreeMap<Long, String> byNumber = new TreeMap<>();
    String key = has("id2label") ? "id2label" : "label2id";
    JsonNode stated = node.path(key);
    for (Map.Entry<String, JsonNode> entry : stated.properties()) {
      boolean byId = key.equals("id2label");
      JsonNode number = byId ? new TextNode(entry.getKey()) : entry.getValue();
      if (!number.asText().matches("\\d{1,9}")) {
        throw missing(key, "names of classes by their numbers");
      }
      String name = byId ? entry.getValue().asText() : entry.getKey();
      if (byNumber.put(Long.parseLong(number.asText()), name) != null) {
        throw missing(key, "one name for each class");
      }
    }
    if (byNumber.isEmpty()) {
      return Optional.empty();
    }
    if (byNumber.lastKey() != byNumber.size() - 1) {
      throw missing(key, "a name for each class from 0 on");
    }
    return Optional.of(List.copyOf(byNumber.values()));
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
