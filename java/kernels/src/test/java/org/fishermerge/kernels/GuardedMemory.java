package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * Memory whose end lies against an unreadable page, so that reading or writing one byte too far
 * kills the test run, and address space that takes no memory until it is touched. For Linux.
 */
@SuppressWarnings("restricted")
final class GuardedMemory implements AutoCloseable {
  private static final long PAGE = 4096;
  private static final int NO_ACCESS = 0;
  private static final int READ_WRITE = 3;
  private static final int PRIVATE_ANONYMOUS_NORESERVE = 0x4022;

  private static final MethodHandle MMAP =
      handle(
          "mmap",
          FunctionDescriptor.of(
              ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle MPROTECT =
      handle("mprotect", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
  private static final MethodHandle MUNMAP =
      handle("munmap", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));

  private final List<MemorySegment> mappings = new ArrayList<>();

  /** Exactly {@code bytes} bytes, the page after them unreadable. */
  MemorySegment allocate(long bytes) {
    long pages = Math.ceilDiv(bytes, PAGE) * PAGE;
    MemorySegment mapping = map(pages + PAGE);
    try {
      if ((int) MPROTECT.invokeExact(mapping.asSlice(pages), PAGE, NO_ACCESS) != 0) {
        throw new IllegalStateException("mprotect failed");
      }
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
    return mapping.asSlice(pages - bytes, bytes);
  }

  /** Zero-filled address space. */
  MemorySegment map(long bytes) {
    try {
      MemorySegment address =
          (MemorySegment)
              MMAP.invokeExact(
                  MemorySegment.NULL, bytes, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, -1, 0L);
      if (address.address() == -1) {
        throw new IllegalStateException("mmap of " + bytes + " bytes failed");
      }
      MemorySegment mapping = address.reinterpret(bytes);
      mappings.add(mapping);
      return mapping;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    try {
      for (MemorySegment mapping : mappings) {
        if ((int) MUNMAP.invokeExact(mapping, mapping.byteSize()) != 0) {
          throw new IllegalStateException("munmap failed");
        }
      }
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().find(name).orElseThrow(), descriptor);
  }
}
