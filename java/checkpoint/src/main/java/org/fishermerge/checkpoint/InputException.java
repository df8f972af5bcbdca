package org.fishermerge.checkpoint;

import org.jspecify.annotations.Nullable;

/**
 * Something the user gave is wrong, or a file is. The message is complete for the user: it names
 * the file, tensor or key, says what was expected and found, and what to do about it.
 */
public class InputException extends RuntimeException {
  public InputException(String message) {
    super(message);
  }

  public InputException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
