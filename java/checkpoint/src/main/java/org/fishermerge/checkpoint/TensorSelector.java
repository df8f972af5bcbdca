package org.fishermerge.checkpoint;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Tensors of a safetensors file picked by prefix, as users write them: {@code
 * FILE.safetensors#prefix.} or just {@code FILE.safetensors}.
 *
 * @param file the safetensors file
 * @param prefix what the names of the wanted tensors begin with; empty for all
 */
public record TensorSelector(Path file, String prefix) {
  private static final String SEPARATOR = ".safetensors#";

  /**
   * Splits at the {@code #} that follows {@code .safetensors}; any other {@code #} belongs to the
   * path. The file need not exist.
   *
   * @throws InputException if the text is blank or no path
   */
  public static TensorSelector parse(String text) {
    int at = text.indexOf(SEPARATOR);
    int hash = at < 0 ? text.length() : at + SEPARATOR.length() - 1;
    String file = text.substring(0, hash);
    if (file.isBlank()) {
      throw new InputException("a file name is missing; write FILE.safetensors#prefix.");
    }
    try {
      return new TensorSelector(
          Path.of(file), hash == text.length() ? "" : text.substring(hash + 1));
    } catch (InvalidPathException e) {
      throw new InputException(Messages.quote(file) + " is not a path: " + e.getReason(), e);
    }
  }

  /**
   * The tensors whose stored names begin with the prefix, by the rest of their names, in stored
   * order.
   *
   * @throws InputException if there is none
   */
  public Map<String, TensorInfo> select(SafetensorsHeader header) {
    Map<String, TensorInfo> selected = new LinkedHashMap<>();
    header
        .tensors()
        .forEach((name, info) -> {
          if (name.startsWith(prefix)) {
            selected.put(name.substring(prefix.length()), info);
          }
        });
    if (selected.isEmpty()) {
      throw new InputException(
          header.file()
              + ": no tensor's name begins with "
              + Messages.quote(prefix)
              + NearestNames.of(prefix, header.tensors().keySet()));
    }
    return selected;
  }
}
