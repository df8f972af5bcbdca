package org.fishermerge.cli.task;

import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;

/** Opens the kernels that the system properties ask for. */
public final class CommandKernels {
  private CommandKernels() {}

  /** A setting that cannot be met is the user's to mend, not a defect. */
  public static Kernels open() {
    try {
      return Kernels.open();
    } catch (IllegalArgumentException | IllegalStateException e) {
      throw new InputException(String.valueOf(e.getMessage()), e);
    }
  }
}
