package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;

/** Hints to the system about parts of mapped files, for a reader that goes from front to back. */
public final class MappedData {
  private MappedData() {}

  /** This part is read next: reading it from the disk may start. */
  public static void readAhead(MemorySegment part) {
    if (part.isMapped() && part.byteSize() > 0) {
      Posix.willNeed(part);
    }
  }

  /**
   * This part is not read again soon: it need not stay mapped, so that the memory a process seems
   * to take does not grow with the size of its files. Reading it all the same works.
   */
  public static void release(MemorySegment part) {
    if (part.isMapped() && part.byteSize() > 0) {
      part.unload();
    }
  }
}
