package org.fishermerge.kernels;

import java.util.ArrayList;
import java.util.List;

/**
 * Mapped files that kernels know of. It protects this process from others that truncate them, and
 * from disks that fail: native code that reads there would end it. While the guard is open, zeros
 * are read there from mappings that are read-only, and {@link #damaged} tells of it afterwards:
 * whoever uses what was computed asks that first. Native kernels on the CPU read and write the
 * files by their descriptors meanwhile, and not through the mappings, which takes longer. Close it
 * before the files are unmapped and their descriptors closed. Thread-safe.
 */
public final class MappedGuard implements AutoCloseable {
  /** One of the native library's. */
  private record Guard(MappedFile file, int number) {}

  private final List<Guard> guards;
  private final List<MappedFile> windowed;
  private final FileWindows windows;
  private final List<String> damaged = new ArrayList<>();
  private boolean closed;

  private MappedGuard(List<Guard> guards, List<MappedFile> windowed, FileWindows windows) {
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
    // Zeros in place of a file that is written would be lost: there the JVM has its own answer.
    List<Guard> guards =
        mapped.stream()
            .filter(file -> file.mapping().isReadOnly())
            .map(file -> new Guard(file, NativeBindings.guard(file.mapping())))
            .toList();
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
      for (Guard guard : guards) {
        if (NativeBindings.release(guard.number)) {
          damaged.add(guard.file.name());
        }
      }
    }
  }

  /**
   * The names of guarded files of which zeros were read in place of what could not be read, because
   * they were cut short or their disk failed.
   *
   * @throws IllegalStateException if the guard is not closed
   */
  public synchronized List<String> damaged() {
    if (!closed) {
      throw new IllegalStateException("the guard is still in force");
    }
    return List.copyOf(damaged);
  }
}
