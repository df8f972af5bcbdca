package org.fishermerge.torch.arch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.JsonFile;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Activation;

/**
 * A node of a model folder's config.json as {@link ModelConfig} resolves it, read with messages
 * that name the file and the key.
 */
record JsonConfig(Path file, String path, JsonNode node) {
  private static final JsonMapper MAPPER = new JsonMapper();

  private static final String SINGLE_LABEL = "single_label_classification";

  /**
   * The config.json of a model folder.
   *
   * @throws InputException if there is none
   */
  static ModelConfig configOf(Checkpoint checkpoint) {
    return checkpoint
        .modelConfig()
        .orElseThrow(() ->
            new InputException(
                checkpoint.path()
                    + ": no config.json beside the weights; expected a Hugging Face model"
                    + " folder"));
  }

  static JsonConfig of(ModelConfig config) {
    return new JsonConfig(config.file(), "", MAPPER.valueToTree(config.values()));
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
    if (value == null || !isInteger(value) || value.intValue() <= 0) {
      throw missing(key, "a positive integer");
    }
    return value.intValue();
  }

  /** The value, or {@code absent} where it is missing or null. */
  int integer(String key, int absent) {
    return has(key) ? integer(key) : absent;
  }

  int integer(String key) {
    JsonNode value = node.get(key);
    if (value == null || !isInteger(value)) {
      throw missing(key, "an integer");
    }
    return value.intValue();
  }

  /** 24.0 is one too, as some writers have it. */
  private static boolean isInteger(JsonNode value) {
    return value.isNumber() && value.canConvertToInt() && value.canConvertToExactIntegral();
  }

  /** What is added to a variance. */
  double epsilon(String key) {
    JsonNode value = node.get(key);
    if (value == null
        || !value.isNumber()
        || !Double.isFinite(value.doubleValue())
        || value.doubleValue() < 0) {
      throw missing(key, "a finite number that is not negative, such as 1e-05");
    }
    return value.doubleValue();
  }

  boolean flag(String key) {
    JsonNode value = node.get(key);
    if (value == null || !value.isBoolean()) {
      throw missing(key, "true or false");
    }
    return value.booleanValue();
  }

  String text(String key) {
    JsonNode value = node.get(key);
    if (value == null || !value.isTextual()) {
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

  /** Refuses the file of another kind of model. */
  void requireType(String expected) {
    String type = text("model_type");
    if (!type.equals(expected)) {
      throw new InputException(
          "%s: model_type is \"%s\"; expected %s".formatted(file, type, expected));
    }
  }

  /** Refuses classifiers whose logits are not those of one class out of several. */
  void requireSingleLabel() {
    String problem = has("problem_type") ? text("problem_type") : SINGLE_LABEL;
    if (!problem.equals(SINGLE_LABEL)) {
      throw new InputException(
          "%s: key problem_type is \"%s\", which is not supported; expected %s"
              .formatted(file, problem, SINGLE_LABEL));
    }
  }

  /** How many classes the file says there are: the names count before the number. */
  OptionalInt labels() {
    if (has("id2label")) {
      return OptionalInt.of(object("id2label").node().size());
    }
    return has("num_labels") ? OptionalInt.of(positive("num_labels")) : OptionalInt.empty();
  }

  /** An activation function, by the name that transformers has for it. */
  Activation activation(String key) {
    return Activation.named(text(key), file + ": key " + path + key);
  }

  /**
   * Refuses each key that {@code keys} states as refused, unless its value changes nothing: null,
   * false, or empty.
   */
  void refuse(SettingsKeys keys) {
    keys.treatments()
        .forEach((key, treatment) -> {
          JsonNode value = node.get(key);
          if (treatment == SettingsKeys.Treatment.REFUSED
              && value != null
              && !value.isNull()
              && !(value.isBoolean() && !value.booleanValue())
              && !(value.isContainerNode() && value.isEmpty())) {
            throw new InputException(
                file
                    + ": key "
                    + path
                    + key
                    + " is "
                    + JsonFile.text(MAPPER.convertValue(value, Object.class))
                    + ", which is not supported; expected null, or none of that name"
                    + (key.equals("quantization_config")
                        ? ": save the model in float32, float16 or bfloat16"
                        : ""));
          }
        });
  }

  /** What {@link SettingsKeys#unknown} says of the keys of this node. */
  List<String> unknown(SettingsKeys keys) {
    List<String> present = new ArrayList<>();
    node.fieldNames().forEachRemaining(present::add);
    String where =
        path.isEmpty() ? file.toString() : file + ": " + path.substring(0, path.length() - 1);
    return keys.unknown(where, present).stream().toList();
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
