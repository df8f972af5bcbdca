package org.fishermerge.kernels;

/**
 * Inputs of averages that do not change while this is open, and may therefore be resident on a GPU:
 * see {@link Kernels#keepResident}. Thread-safe.
 */
public final class ResidentInputs implements AutoCloseable {
  private final boolean onDevice;
  private final String description;
  private final Runnable release;

  ResidentInputs(boolean onDevice, String description, Runnable release) {
    this.onDevice = onDevice;
    this.description = description;
    this.release = release;
  }

  /** Whether a GPU has memory for copies of all of them. */
  public boolean onDevice() {
    return onDevice;
  }

  /** A line for the user: where inputs are read, and why not on the GPU. */
  public String description() {
    return description;
  }

  /**
   * Frees the copies; the segments may change from now on. Closing twice, or after the kernels, has
   * no effect.
   */
  @Override
  public void close() {
    release.run();
  }
}
