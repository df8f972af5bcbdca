package org.fishermerge.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;

/** JSON files of a model folder. */
final class Json {
  static final JsonMapper MAPPER =
      JsonMapper.builder(InputFiles.JSON)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private Json() {}

  /** The object in a file; an {@link InputException} that names the file if there is none. */
  static ObjectNode object(Path file) {
    try {
      JsonNode root = MAPPER.readTree(InputFiles.text(file));
      if (root instanceof ObjectNode object) {
        return object;
      }
      throw new InputException(file + ": expected a JSON object");
    } catch (JsonProcessingException e) {
      throw new InputException(file + ": not readable as JSON: " + InputFiles.jsonProblem(e), e);
    }
  }
}
