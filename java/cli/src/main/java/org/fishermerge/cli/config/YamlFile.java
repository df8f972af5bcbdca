package org.fishermerge.cli.config;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;

/** A YAML file that is no configuration of a program: keys and values, as they stand there. */
public final class YamlFile {
  /** No one writes more by hand. */
  private static final long MOST_BYTES = 4L << 20;

  private YamlFile() {}

  /**
   * Reads a file.
   *
   * @throws InputException if it cannot be read, is no YAML, has a key twice, or is no mapping
   */
  public static ConfigValue.Mapping read(Path file) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new InputException(
            file + ": " + (Files.exists(file) ? "is not a file" : "does not exist"));
      }
      if (Files.size(file) > MOST_BYTES) {
        throw new InputException(file + ": is larger than 4 MiB, too large for a file of settings");
      }
      return Yaml.parse(Files.readString(file), file.toString());
    } catch (CharacterCodingException e) {
      throw new InputException(file + ": is no text in UTF-8", e);
    } catch (IOException e) {
      throw new InputException("cannot read " + file + ": " + Reasons.of(e), e);
    }
  }
}
