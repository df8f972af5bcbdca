package org.fishermerge.data.hub;

import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;

/** Names of files in a repository: relative paths with {@code /}, written by strangers. */
final class FileNames {
  private FileNames() {}

  /**
   * Whether the name leads to a place inside whatever folder it is resolved against, on any
   * operating system: no parent, no root, no drive, no backslash, no control character.
   */
  static boolean isSafe(String name) {
    for (String part : name.split("/", -1)) {
      if (part.isEmpty() || part.equals(".") || part.equals("..")) {
        return false;
      }
    }
    return name.chars().noneMatch(c -> c == '\\' || c == ':' || c < ' ' || c == 0x7f);
  }

  /**
   * The path of a file of a repository below a folder.
   *
   * @throws InputException if the name leads elsewhere
   */
  static Path resolve(Path folder, String name) {
    if (!isSafe(name)) {
      throw new InputException(
          "the repository lists a file '%s', which is no path inside it; it is not downloaded"
              .formatted(name.replaceAll("\\p{Cntrl}", "?")));
    }
    return folder.resolve(name);
  }
}
