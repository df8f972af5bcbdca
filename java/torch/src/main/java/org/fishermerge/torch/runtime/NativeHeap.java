package org.fishermerge.torch.runtime;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * The memory that malloc has allocated: libtorch's tensors and the kernels' workspace are part of
 * it.
 */
public final class NativeHeap {
  // struct mallinfo2 of glibc 2.33 and newer: ten size_t.
  private static final int FIELDS = 10;
  private static final int MAPPED_BYTES = 4; // hblkhd
  private static final int USED_BYTES = 7; // uordblks

  private static final Optional<MethodHandle> MALLINFO2 =
      Linker.nativeLinker()
          .defaultLookup()
          .find("mallinfo2")
          .map(function ->
              Linker.nativeLinker()
                  .downcallHandle(
                      function,
                      FunctionDescriptor.of(
                          MemoryLayout.structLayout(
                              MemoryLayout.sequenceLayout(FIELDS, ValueLayout.JAVA_LONG)))));

  private static final Optional<MethodHandle> MALLOC_TRIM =
      Linker.nativeLinker()
          .defaultLookup()
          .find("malloc_trim")
          .map(function ->
              Linker.nativeLinker()
                  .downcallHandle(
                      function,
                      FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG)));

  private NativeHeap() {}

  /** Gives what is not in use back to the system, where the C library can. */
  public static void release() {
    if (MALLOC_TRIM.isPresent()) {
      try {
        int _ = (int) MALLOC_TRIM.get().invokeExact(0L);
      } catch (Throwable e) {
        throw new IllegalStateException("malloc_trim", e);
      }
    }
  }

  /** Bytes in use, by all threads; empty where the C library is no recent glibc. */
  public static OptionalLong used() {
    if (MALLINFO2.isEmpty()) {
      return OptionalLong.empty();
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = (MemorySegment) MALLINFO2.get().invokeExact((SegmentAllocator) arena);
      return OptionalLong.of(
          info.getAtIndex(ValueLayout.JAVA_LONG, MAPPED_BYTES)
              + info.getAtIndex(ValueLayout.JAVA_LONG, USED_BYTES));
    } catch (Throwable e) {
      throw new IllegalStateException("mallinfo2", e);
    }
  }
}
