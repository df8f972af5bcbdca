package org.fishermerge.benchmarks;

import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * What a report was asked for.
 *
 * @param quick less of everything
 * @param peers a Python interpreter to compare with, or null
 */
record ReportOptions(boolean quick, @Nullable String peers) {

  /**
   * Of a command line.
   *
   * @throws InputException if it holds anything else
   */
  static ReportOptions of(String... arguments) {
    boolean quick = false;
    String peers = null;
    for (int i = 0; i < arguments.length; i++) {
      if (arguments[i].equals("--quick")) {
        quick = true;
      } else if (arguments[i].equals("--peers") && i + 1 < arguments.length) {
        peers = arguments[++i];
      } else {
        throw new InputException(arguments[i] + ": expected --quick or --peers PYTHON");
      }
    }
    return new ReportOptions(quick, peers);
  }
}
