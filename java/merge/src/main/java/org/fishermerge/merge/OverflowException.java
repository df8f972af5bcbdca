package org.fishermerge.merge;

import org.fishermerge.checkpoint.InputException;

/** Finite inputs make a value that the output's dtype cannot hold: other settings may do. */
public final class OverflowException extends InputException {
  OverflowException(String message) {
    super(message);
  }
}
