package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;

/** Reads configurations, indexes, tokenizers and the like whole, whoever they come from. */
public final class InputFiles {
  /** Far above any of them: the largest tokenizers have some 40 MB. */
  static final int MAX_BYTES = SafetensorsHeader.MAX_HEADER_BYTES;

  /**
   * Reads JSON as Python writes it: with NaN and Infinity, which no other key depends on. A key
   * twice is an error.
   */
  public static final JsonFactory JSON =
      JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .build();

  private InputFiles() {}

  /**
   * Refuses folders, pipes and devices without opening them: opening a pipe can block for ever.
   *
   * @throws InputException if it is one, or not there
   */
  public static void requireRegular(Path file) {
    BasicFileAttributes attributes;
    try {
      attributes = Files.readAttributes(file, BasicFileAttributes.class);
    } catch (IOException e) {
      throw Messages.cannotRead(file, e);
    }
    if (attributes.isDirectory()) {
      throw new InputException(file + ": is a folder, where a file is wanted");
    }
    if (!attributes.isRegularFile()) {
      throw new InputException(file + ": is a pipe, device or socket, where a file is wanted");
    }
  }

  /**
   * All bytes of a file.
   *
   * @throws InputException if it is no regular file, cannot be read, or is over 100 MB long
   */
  public static byte[] bytes(Path file) {
    requireRegular(file);
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(MAX_BYTES + 1);
      if (bytes.length > MAX_BYTES) {
        throw new InputException(
            file
                + ": is "
                + Messages.bytes(Files.size(file))
                + " long, where at most "
                + Messages.bytes(MAX_BYTES)
                + " are expected; it is not what its name says");
      }
      return bytes;
    } catch (IOException e) {
      throw Messages.cannotRead(file, e);
    }
  }

  /** What is wrong with a JSON text and where, in one line. */
  public static String jsonProblem(JsonProcessingException e) {
    return Reasons.ofJson(e);
  }

  /**
   * The text of a UTF-8 file.
   *
   * @throws InputException as {@link #bytes}, and if it is not valid UTF-8
   */
  public static String text(Path file) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes(file))).toString();
    } catch (CharacterCodingException e) {
      throw new InputException(file + ": is not valid UTF-8; expected a text file", e);
    }
  }
}
