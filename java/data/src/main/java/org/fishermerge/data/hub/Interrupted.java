package org.fishermerge.data.hub;

import java.io.InterruptedIOException;
import java.io.UncheckedIOException;

/** What an interrupt becomes: downloads are stopped that way when one of them has failed. */
final class Interrupted {
  private Interrupted() {}

  static UncheckedIOException exception(Throwable cause) {
    Thread.currentThread().interrupt();
    InterruptedIOException interrupted = new InterruptedIOException("the download was interrupted");
    interrupted.initCause(cause);
    return new UncheckedIOException(interrupted);
  }
}
