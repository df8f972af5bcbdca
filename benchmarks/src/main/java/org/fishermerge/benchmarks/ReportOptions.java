package org.fishermerge.benchmarks;

import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * What a report was asked for.
 *
 * @param quick less of everything
 * @param gpu on the first GPU
 * @param peers a Python interpreter to compare with, or null
 */
record ReportOptions(boolean quick, boolean gpu, @Nullable String peers) {

  /**
   * Of a command line.
   *
   * @throws InputException if it holds anything else
   */
  static ReportOptions of(String... arguments) {
    boolean quick = false;
    boolean gpu = false;
    String peers = null;
    for (int i = 0; i < arguments.length; i++) {
      if (arguments[i].equals("--quick")) {
        quick = true;
      } else if (arguments[i].equals("--gpu")) {
        gpu = true;
      } else if (arguments[i].equals("--peers") && i + 1 < arguments.length) {
        peers = arguments[++i];
      } else {
        throw new InputException(arguments[i] + ": expected --quick, --gpu or --peers PYTHON");
      }
    }
    return new ReportOptions(quick, gpu, peers);
  }
}
