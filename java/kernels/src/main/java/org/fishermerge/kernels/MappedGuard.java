package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Protects this process from mapped files that others truncate: reading beyond the new end in
 * native code would end it. While the guard is open, zeros are read there, and {@link #damaged}
 * tells of it afterwards. Close it before the files are unmapped. Thread-safe.
 */
public final class MappedGuard implements AutoCloseable {
  private final List<Integer> guards;
  private boolean damaged;
  private boolean closed;

  private MappedGuard(List<Integer> guards) {
    this.guards = guards;
  }

  /** Guards whole mappings with the native library. */
  static MappedGuard of(List<MemorySegment> mapped) {
    return new MappedGuard(
        mapped.stream()
            .filter(segment -> segment.isMapped() && segment.byteSize() > 0)
            .map(NativeBindings::guard)
            .toList());
  }

  /** Guards nothing, for kernels in Java, where the JVM turns the fault into an error. */
  static MappedGuard none() {
    return new MappedGuard(List.of());
  }

  /** Ends the guard. Closing twice has no effect. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      for (int guard : guards) {
        damaged |= NativeBindings.release(guard);
      }
    }
  }

  /**
   * Whether a guarded file was read beyond its new end, so that zeros were read.
   *
   * @throws IllegalStateException if the guard is not closed
   */
  public synchronized boolean damaged() {
    if (!closed) {
      throw new IllegalStateException("the guard is still in force");
    }
    return damaged;
  }
}
