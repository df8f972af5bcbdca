package org.fishermerge.kernels;

/**
 * Inputs of averages that do not change, until this is closed: see {@link Kernels#hold}. Safe for
 * use by several threads.
 */
public final class HeldInputs implements AutoCloseable {
  private final boolean onDevice;
  private final String description;
  private final Runnable release;

  HeldInputs(boolean onDevice, String description, Runnable release) {
    this.onDevice = onDevice;
    this.description = description;
    this.release = release;
  }

  /** Whether there is memory for copies of all of them on a GPU. */
  public boolean onDevice() {
    return onDevice;
  }

  /** Where averages find the inputs, and if not on the GPU, why, as a line for the user. */
  public String description() {
    return description;
  }

  /** Ends the promise, and frees what was kept. Closing twice is harmless. */
  @Override
  public void close() {
    release.run();
  }
}
