package org.fishermerge.checkpoint;

/**
 * Something the user gave is wrong, or a file is. The message is complete for the user: it names
 * the file, tensor or key, says what was expected and found, and what to do about it.
 */
public class InputException extends RuntimeException {
  public InputException(String message) {
    super(message);
  }

  public InputException(String message, Throwable cause) {
    super(message, cause);
  }
}
