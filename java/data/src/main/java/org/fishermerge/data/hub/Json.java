package org.fishermerge.data.hub;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import org.fishermerge.checkpoint.InputFiles;

/** How JSON is read here. */
final class Json {
  static final JsonMapper MAPPER =
      JsonMapper.builder(InputFiles.JSON)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private Json() {}
}
