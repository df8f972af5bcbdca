package org.fishermerge.kernels;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A file that is mapped as a whole.
 *
 * @param mapping all of it
 * @param descriptor of the same file, open for reading, and for writing too if the mapping is
 *     writable; -1 if there is none. It stays the caller's, who keeps it open as long as kernels
 *     know of the file.
 */
public record MappedFile(MemorySegment mapping, int descriptor) {
  /** Without a descriptor. */
  public static final int NONE = -1;

  /** What Linux calls the file, for messages. */
  String name() {
    try {
      return Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor)).toString();
    } catch (IOException e) {
      return "a file of " + mapping.byteSize() + " bytes";
    }
  }
}
