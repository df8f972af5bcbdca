package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A mapped safetensors file. Segments are read-only, lie wherever the writer put them (possibly
 * unaligned to their elements), hold little-endian data, and are valid until {@link #close}. Any
 * number of threads may read.
 */
public final class SafetensorsFile implements AutoCloseable {
  private final SafetensorsHeader header;
  private final Arena arena;
  private final FileMapping mapping;

  private SafetensorsFile(SafetensorsHeader header, Arena arena, FileMapping mapping) {
    this.header = header;
    this.arena = arena;
    this.mapping = mapping;
  }

  /**
   * Reads the header, then maps the file.
   *
   * @throws InputException as {@link SafetensorsHeader#read} does
   */
  public static SafetensorsFile open(Path file) {
    return open(SafetensorsHeader.read(file));
  }

  /**
   * Maps the file of a header read before.
   *
   * @throws InputException if the file cannot be mapped or has changed its size since
   */
  @SuppressWarnings("MustBeClosedChecker") // the arena is closed by close(), and here on failure
  public static SafetensorsFile open(SafetensorsHeader header) {
    Arena arena = Arena.ofShared();
    int descriptor = Posix.open(header.file(), false);
    try {
      FileMapping mapping = map(header, descriptor, arena);
      if (mapping.descriptor() < 0) {
        Posix.close(descriptor);
      }
      return new SafetensorsFile(header, arena, mapping);
    } catch (IOException e) {
      Posix.close(descriptor);
      arena.close();
      throw Messages.cannotRead(header.file(), e);
    } catch (RuntimeException | Error e) {
      Posix.close(descriptor);
      arena.close();
      throw e;
    }
  }

  /** By the descriptor, so that both are the same file even where another takes its name. */
  private static FileMapping map(SafetensorsHeader header, int descriptor, Arena arena)
      throws IOException {
    if (descriptor >= 0 && Files.exists(Posix.path(descriptor))) {
      return new FileMapping(map(header, Posix.path(descriptor), arena), descriptor);
    }
    return new FileMapping(map(header, header.file(), arena), -1);
  }

  private static MemorySegment map(SafetensorsHeader header, Path file, Arena arena)
      throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      // Reading a mapping past the end of its file would be a fault, not an exception.
      requireSize(header, size);
      return channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
    }
  }

  private static void requireSize(SafetensorsHeader header, long size) {
    if (size != header.fileSize()) {
      throw new InputException(
          header.file()
              + ": changed while it was in use: expected "
              + Messages.bytes(header.fileSize())
              + ", found "
              + Messages.bytes(size)
              + "; run again when nothing writes to it");
    }
  }

  /**
   * Whether a file is as long as when its header was read.
   *
   * @throws InputException if not
   */
  static void requireSize(SafetensorsHeader header) {
    try {
      requireSize(header, Files.size(header.file()));
    } catch (IOException e) {
      throw Messages.cannotRead(header.file(), e);
    }
  }

  /**
   * Whether the file is as long as when it was opened. What lies beyond its end reads as zeros, or
   * fails with an {@link InternalError}: this says why.
   *
   * @throws InputException if not
   */
  public void requireSize() {
    requireSize(header);
  }

  public SafetensorsHeader header() {
    return header;
  }

  /**
   * The data of a tensor: exactly {@link TensorInfo#byteCount()} bytes, read-only.
   *
   * @param tensor the name as stored
   * @throws InputException if there is no such tensor; the message gives the nearest names
   */
  public MemorySegment segment(String tensor) {
    TensorInfo info = header.tensors().get(tensor);
    if (info == null) {
      throw new InputException(
          header.file()
              + ": has no tensor "
              + Messages.quote(tensor)
              + NearestNames.of(tensor, header.tensors().keySet()));
    }
    return mapping.data().asSlice(header.dataOffset() + info.begin(), info.byteCount());
  }

  /** All of the file. */
  FileMapping mapping() {
    return mapping;
  }

  /** Unmaps the file: its segments become invalid. Closing twice is harmless. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
      Posix.close(mapping.descriptor());
    }
  }
}
