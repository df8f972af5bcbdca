package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Guards mapped files against their being truncated by others, which ends a process that reads them
 * natively. While the guard is open, zeros are read in place of what is no longer there. Close it
 * before the files are unmapped. Safe for use by several threads.
 */
public final class MappedGuard implements AutoCloseable {
  private final List<Integer> guards;
  private boolean damaged;
  private boolean closed;

  private MappedGuard(List<Integer> guards) {
    this.guards = guards;
  }

  /**
   * Guards whole mappings. Without the native library it guards nothing, as nothing is read
   * natively then.
   */
  static MappedGuard of(List<MemorySegment> mapped) {
    return new MappedGuard(
        mapped.stream()
            .filter(segment -> segment.isMapped() && segment.byteSize() > 0)
            .map(NativeBindings::guard)
            .toList());
  }

  static MappedGuard none() {
    return new MappedGuard(List.of());
  }

  /** Ends the guard. Closing twice is harmless. */
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
   * Whether something was read that is no longer there.
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
