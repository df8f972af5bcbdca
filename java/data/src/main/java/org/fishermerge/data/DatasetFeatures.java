package org.fishermerge.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What the {@code datasets} library writes about columns beside the data: a JSON text under the key
 * {@code huggingface} of a Parquet or Arrow schema's metadata, and the same in the {@code
 * dataset_info.json} of a folder.
 */
final class DatasetFeatures {
  private static final String KEY = "huggingface";

  private DatasetFeatures() {}

  /** The class names of a column, from the metadata of a schema; empty if it states none. */
  static Optional<List<String>> classNames(@Nullable Map<String, String> metadata, String column) {
    String text = metadata == null ? null : metadata.get(KEY);
    if (text == null) {
      return Optional.empty();
    }
    try {
      JsonNode root = Json.MAPPER.readTree(text);
      return classNames(root.path("info").path("features"), column);
    } catch (JsonProcessingException e) {
      return Optional.empty(); // datasets passes over what it cannot read
    }
  }

  /**
   * The class names of a column.
   *
   * @param features by column, as {@code Features.to_dict} has them
   */
  static Optional<List<String>> classNames(JsonNode features, String column) {
    JsonNode feature = features.path(column);
    JsonNode names =
        feature.path("_type").asText("").equals("ClassLabel")
            ? feature.path("names")
            : feature.path("class_label").path("names");
    List<String> found = new ArrayList<>();
    for (int i = 0; i < names.size(); i++) {
      // A list, or an object by number as dataset cards have it.
      JsonNode name = names.isArray() ? names.get(i) : names.path(Integer.toString(i));
      if (!name.isTextual() && !name.isNumber()) {
        return Optional.empty();
      }
      found.add(name.asText());
    }
    return found.isEmpty() ? Optional.empty() : Optional.of(found);
  }
}
