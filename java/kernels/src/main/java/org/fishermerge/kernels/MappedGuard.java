package org.fishermerge.kernels;

import java.util.List;

/**
 * Mapped files that kernels know of. It protects this process from others that truncate them:
 * reading beyond the new end in native code would end it. While the guard is open, zeros are read
 * there, and {@link #damaged} tells of it afterwards. Native kernels on the CPU read and write the
 * files by their descriptors meanwhile, and not through the mappings, which takes longer. Close it
 * before the files are unmapped and their descriptors closed. Thread-safe.
 */
public final class MappedGuard implements AutoCloseable {
  private final List<Integer> guards;
  private final List<MappedFile> windowed;
  private final FileWindows windows;
  private boolean damaged;
  private boolean closed;

  private MappedGuard(List<Integer> guards, List<MappedFile> windowed, FileWindows windows) {
    this.guards = guards;
    this.windowed = windowed;
    this.windows = windows;
  }

  /** Guards whole mappings with the native library. */
  static MappedGuard of(List<MappedFile> files, FileWindows windows) {
    List<MappedFile> mapped =
        files.stream()
            .filter(file -> file.mapping().isMapped() && file.mapping().byteSize() > 0)
            .toList();
    List<Integer> guards =
        mapped.stream().map(file -> NativeBindings.guard(file.mapping())).toList();
    List<MappedFile> windowed = mapped.stream().filter(windows::add).toList();
    return new MappedGuard(guards, windowed, windows);
  }

  /** Guards nothing, for kernels in Java, where the JVM turns the fault into an error. */
  static MappedGuard none() {
    return new MappedGuard(List.of(), List.of(), new FileWindows());
  }

  /** Ends the guard. Closing twice has no effect. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      windowed.forEach(windows::remove);
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
