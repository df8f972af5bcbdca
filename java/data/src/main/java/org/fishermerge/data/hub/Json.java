package org.fishermerge.data.hub;

import com.fasterxml.jackson.databind.json.JsonMapper;
import org.fishermerge.checkpoint.InputFiles;

/** How JSON is read here. */
final class Json {
  static final JsonMapper MAPPER =
      new JsonMapper(InputFiles.JSON);

  private Json() {}
}
