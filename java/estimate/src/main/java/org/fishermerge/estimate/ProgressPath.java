package org.fishermerge.estimate;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Where a command keeps what it has finished, for the same command that is started again. */
public final class ProgressPath {
  private static final String SUFFIX = ".progress";

  /** In bytes. */
  private static final int LONGEST_NAME = 255;

  private static final int HASH_DIGITS = 16;

  private ProgressPath() {}

  /**
   * The path of the progress towards an output, beside it. A name that would be longer than file
   * systems allow is cut, and told apart from others by a hash.
   */
  public static Path of(Path output) {
    String name = output.getFileName().toString();
    if (bytes(name + SUFFIX) <= LONGEST_NAME) {
      return output.resolveSibling(name + SUFFIX);
    }
    String end = "-" + new ContentKey(name).hex().substring(0, HASH_DIGITS) + SUFFIX;
    String begin = name;
    while (bytes(begin + end) > LONGEST_NAME) {
      begin = begin.substring(0, begin.offsetByCodePoints(begin.length(), -1));
    }
    return output.resolveSibling(begin + end);
  }

  private static int bytes(String name) {
    return name.getBytes(StandardCharsets.UTF_8).length;
  }
}
