package org.fishermerge.data.hub;

import org.fishermerge.checkpoint.InputException;

/** What arrived is not what was announced. */
final class DamagedDownloadException extends InputException {
  DamagedDownloadException(String message) {
    super(message);
  }
}
