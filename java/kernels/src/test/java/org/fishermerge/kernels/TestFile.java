package org.fishermerge.kernels;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A file that is mapped and open, in which operands are put one after the other. */
@SuppressWarnings("restricted")
final class TestFile implements AutoCloseable {
  private static final int O_RDWR = 2;

  private final Arena arena = Arena.ofShared();
  private final MappedFile file;
  private long used = 3; // operands lie anywhere

  TestFile(Path path, long bytes) throws IOException {
    Files.write(path, new byte[Math.toIntExact(bytes)]);
    file = new MappedFile(map(path, bytes), open(path));
  }

  /** Mapped from one file, and open as another of the same size. */
  TestFile(Path mapped, Path open) throws IOException {
    file = new MappedFile(map(mapped, Files.size(mapped)), open(open));
  }

  private MemorySegment map(Path path, long bytes) throws IOException {
    try (FileChannel channel =
        FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
    }
  }

  private static int open(Path path) {
    FunctionDescriptor open =
        FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT);
    try (Arena arena = Arena.ofConfined()) {
      return (int) libc("open", open).invokeExact(arena.allocateFrom(path.toString()), O_RDWR);
    } catch (Throwable e) {
      throw new LinkageError("open", e);
    }
  }

  private static MethodHandle libc(String name, FunctionDescriptor descriptor) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().find(name).orElseThrow(), descriptor);
  }

  MappedFile mapped() {
    return file;
  }

  /** Room for an operand. */
  MemorySegment place(long bytes) {
    MemorySegment place = file.mapping().asSlice(used, bytes);
    used += bytes + 1;
    return place;
  }

  /** Puts the next operands in the places of the first. */
  void reuse() {
    used = 3;
  }

  @Override
  public void close() {
    arena.close();
    try {
      int _ =
          (int)
              libc("close", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT))
                  .invokeExact(file.descriptor());
    } catch (Throwable e) {
      throw new LinkageError("close", e);
    }
  }
}
