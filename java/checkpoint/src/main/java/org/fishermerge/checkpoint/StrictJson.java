package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * A streaming JSON parser that refuses what lenient parsers let pass: duplicate names, malformed
 * UTF-8 (also overlong forms and encoded surrogates), a byte order mark, unpaired surrogate
 * escapes, and anything but white space after the value.
 */
final class StrictJson {
  static final JsonFactory FACTORY =
      JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          // A million distinct names would only fill the symbol table, and could be chosen to
          // collide in it.
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .streamReadConstraints(
              // The file's own size limits come first; names and values may use all of it.
              StreamReadConstraints.builder()
                  .maxNameLength(SafetensorsHeader.MAX_HEADER_BYTES)
                  .maxStringLength(SafetensorsHeader.MAX_HEADER_BYTES)
                  .maxNestingDepth(64)
                  .build())
          .build();

  private StrictJson() {}

  /**
   * The same for settings, which Python wrote: beside what is read there may be NaN and Infinity.
   */
  static JsonParser settingsParser(byte[] utf8) throws IOException {
    JsonParser parser = parser(utf8);
    parser.configure(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS.mappedFeature(), true);
    return parser;
  }

  static JsonParser parser(byte[] utf8) throws IOException {
    if (utf8.length >= 3
        && utf8[0] == (byte) 0xEF
        && utf8[1] == (byte) 0xBB
        && utf8[2] == (byte) 0xBF) {
      throw new JsonParseException((JsonParser) null, "it begins with a byte order mark");
    }
    var decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    return FACTORY.createParser(new InputStreamReader(new ByteArrayInputStream(utf8), decoder));
  }

  /** The text of a name or string value, refusing unpaired surrogates: they have no UTF-8 form. */
  static String text(JsonParser parser) throws IOException {
    String text =
        parser.currentToken() == JsonToken.FIELD_NAME ? parser.currentName() : parser.getText();
    if (hasUnpairedSurrogate(text)) {
      throw new JsonParseException(
          parser, "the string " + Messages.quote(text) + " has an unpaired surrogate");
    }
    return text;
  }

  static void expectEnd(JsonParser parser) throws IOException {
    JsonToken token = parser.nextToken();
    if (token != null) {
      throw new JsonParseException(parser, "there is more after the closing brace");
    }
  }

  /** Says what is wrong with {@code what} (for example "the header") of a file. */
  static RuntimeException invalid(Path file, String what, IOException e) {
    if (e instanceof CharacterCodingException) {
      return new InputException(file + ": " + what + " is not valid UTF-8", e);
    }
    if (e instanceof JsonProcessingException s) {
      return new InputException(file + ": " + what + " is not valid JSON: " + Reasons.ofJson(s), e);
    }
    return Messages.cannotRead(file, e);
  }

  static boolean hasUnpairedSurrogate(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        return true;
      }
    }
    return false;
  }
}
