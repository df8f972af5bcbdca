package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * A {@code model.safetensors.index.json}.
 *
 * @param file the index
 * @param weightMap tensor name to the plain name of the shard that holds it
 * @param totalSize {@code metadata.total_size} as written, if it is a number
 */
record ShardIndex(Path file, Map<String, String> weightMap, @Nullable String totalSize) {
  /** As many as fit into the longest header; shorter entries would only fill the heap. */
  static final int MAX_TENSORS = 2_000_000;

  static ShardIndex read(Path file) {
    return read(file, MAX_TENSORS);
  }

  /** With a limit of so many tensors. */
  static ShardIndex read(Path file, int most) {
    try (JsonParser parser = StrictJson.settingsParser(InputFiles.bytes(file))) {
      return parse(file, parser, most);
    } catch (IOException e) {
      throw StrictJson.invalid(file, "the index", e);
    }
  }

  private static ShardIndex parse(Path file, JsonParser parser, int most) throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw new InputException(file + ": the index must be a JSON object with a weight_map");
    }
    Map<String, String> weightMap = new LinkedHashMap<>();
    String totalSize = null;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String field = StrictJson.text(parser);
      parser.nextToken();
      switch (field) {
        case "weight_map" -> parseWeightMap(file, parser, weightMap, most);
        case "metadata" -> totalSize = parseTotalSize(parser);
        default -> parser.skipChildren();
      }
    }
    StrictJson.expectEnd(parser);
    if (weightMap.isEmpty()) {
      throw new InputException(file + ": the index has no weight_map, or an empty one");
    }
    return new ShardIndex(file, weightMap, totalSize);
  }

  private static void parseWeightMap(
      Path file, JsonParser parser, Map<String, String> weightMap, int most) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new InputException(file + ": weight_map must be an object of tensor name to file name");
    }
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String tensor = StrictJson.text(parser);
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw new InputException(
            file + ": weight_map: the file of " + Messages.quote(tensor) + " must be a string");
      }
      String shard = StrictJson.text(parser);
      if (!ModelFolder.isPlainName(shard)) {
        throw new InputException(
            file
                + ": weight_map puts "
                + Messages.quote(tensor)
                + " into "
                + Messages.quote(shard)
                + "; only plain file names inside the folder are allowed, no paths");
      }
      if (weightMap.size() == most) {
        throw new InputException(
            file + ": weight_map has more than " + most + " tensors, more than fit into files");
      }
      weightMap.put(tensor, shard);
    }
  }

  /** Any scalar is kept as text: a wrong one is only worth a warning. */
  private static @Nullable String parseTotalSize(JsonParser parser) throws IOException {
    String totalSize = null;
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      parser.skipChildren();
      return null;
    }
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      boolean wanted = parser.currentName().equals("total_size");
      if (parser.nextToken().isScalarValue() && wanted) {
        totalSize = parser.getText();
      }
      parser.skipChildren();
    }
    return totalSize;
  }

  /** The shards' names, sorted. */
  SortedSet<String> shards() {
    return new TreeSet<>(weightMap.values());
  }
}
