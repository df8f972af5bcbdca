package org.fishermerge.data.hub;

import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/** The hub cannot be reached, or not just now; what the cache holds may still do. */
final class HubUnreachableException extends InputException {
  HubUnreachableException(String message, @Nullable Throwable cause) {
    super(message);
    if (cause != null) {
      initCause(cause);
    }
  }
}
