package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Writes a safetensors file in place: all tensors are declared first, the file is given its full
 * size, then each tensor's bytes are a writable mapped segment. The file is byte for byte what the
 * reference implementation would write: tensors by descending dtype, then by name, so that each is
 * aligned to its elements; the header padded with spaces to a multiple of 8 bytes.
 *
 * <p>Different threads may write to segments at once. Without {@link #finish} the file's content is
 * not to be used; it belongs to the caller (see {@link AtomicOutput}), who also deletes it.
 */
public final class SafetensorsWriter implements TensorWriter {
  /** A tensor to be written. */
  public record Declared(String name, DType dtype, List<Long> shape) {
    public Declared {
      shape = List.copyOf(shape);
    }
  }

  private static final int ALIGNMENT = 8;
  private static final int ZERO_BYTES = 1 << 20;

  private final Path file;
  private final Map<String, TensorInfo> tensors;
  private final FileChannel channel;
  private final Arena arena;
  private final FileMapping mapping;
  private final long dataOffset;
  private final ExecutorService behind = executor("fisher-write-behind");

  private SafetensorsWriter(
      Path file,
      Map<String, TensorInfo> tensors,
      FileChannel channel,
      Arena arena,
      FileMapping mapping,
      long dataOffset) {
    this.file = file;
    this.tensors = tensors;
    this.channel = channel;
    this.arena = arena;
    this.mapping = mapping;
    this.dataOffset = dataOffset;
  }

  /**
   * Creates the file, at its full size and with its header; the data is zero.
   *
   * @param file must not exist
   * @param tensors in any order, names distinct
   * @param metadata written as {@code __metadata__} in this order; left out if empty
   * @throws InputException if the file cannot be created, the disk has not enough room, or the
   *     header would exceed {@link SafetensorsHeader#MAX_HEADER_BYTES}
   * @throws IllegalArgumentException if a name is given twice, is {@code __metadata__} or has an
   *     unpaired surrogate, or a shape is negative or too large
   */
  public static SafetensorsWriter create(
      Path file, List<Declared> tensors, Map<String, String> metadata) {
    Map<String, TensorInfo> placed = place(tensors);
    byte[] header = header(placed.values(), metadata);
    if (header.length - SafetensorsHeader.LENGTH_BYTES > SafetensorsHeader.MAX_HEADER_BYTES) {
      throw new InputException(
          file
              + ": the header would be "
              + Messages.bytes(header.length)
              + " long, the format allows "
              + SafetensorsHeader.MAX_HEADER_BYTES
              + "; write fewer tensors into one file");
    }
    long dataBytes = placed.values().stream().mapToLong(TensorInfo::end).max().orElse(0);
    return open(file, placed, header, header.length + dataBytes);
  }

  @SuppressWarnings("MustBeClosedChecker") // closed by the writer, and here on failure
  private static SafetensorsWriter open(
      Path file, Map<String, TensorInfo> tensors, byte[] header, long size) {
    Arena arena = Arena.ofShared();
    FileChannel channel = null;
    try {
      requireRoom(file, size);
      channel =
          FileChannel.open(
              file,
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
      allocate(file, channel, size);
      writeFully(channel, ByteBuffer.wrap(header), 0);
      MemorySegment mapped = channel.map(FileChannel.MapMode.READ_WRITE, 0, size, arena);
      FileMapping mapping = new FileMapping(mapped, Posix.open(file, true));
      return new SafetensorsWriter(file, tensors, channel, arena, mapping, header.length);
    } catch (IOException e) {
      closeAfter(arena, channel, e);
      throw Messages.cannotWrite(file, e);
    } catch (RuntimeException | Error e) {
      closeAfter(arena, channel, e);
      throw e;
    }
  }

  private static void closeAfter(Arena arena, @Nullable FileChannel channel, Throwable failure) {
    arena.close();
    try {
      if (channel != null) {
        channel.close();
      }
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  private static Map<String, TensorInfo> place(List<Declared> tensors) {
    List<Declared> sorted =
        tensors.stream()
            .sorted(
                Comparator.comparing(Declared::dtype, Comparator.reverseOrder())
                    .thenComparing(Declared::name, TensorDigest.UTF8_ORDER))
            .toList();
    Map<String, TensorInfo> placed = LinkedHashMap.newLinkedHashMap(sorted.size());
    long position = 0;
    for (Declared tensor : sorted) {
      String name = tensor.name();
      if (name.equals(SafetensorsHeader.METADATA_KEY) || StrictJson.hasUnpairedSurrogate(name)) {
        throw new IllegalArgumentException("a tensor cannot be named " + Messages.quote(name));
      }
      if (tensor.shape().size() > SafetensorsHeader.MAX_RANK
          || tensor.shape().stream().anyMatch(size -> size < 0)) {
        throw new IllegalArgumentException(
            "tensor " + Messages.quote(name) + " cannot have the shape " + tensor.shape());
      }
      long end;
      try {
        end = Math.addExact(position, TensorInfo.bytes(tensor.dtype(), tensor.shape()));
        // The header is shorter than this, so that the file's size cannot overflow either.
        Math.addExact(end, 2L * SafetensorsHeader.MAX_HEADER_BYTES);
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException(
            "tensor " + Messages.quote(name) + " is too large: " + e.getMessage(), e);
      }
      TensorInfo before =
          placed.put(name, new TensorInfo(name, tensor.dtype(), tensor.shape(), position, end));
      if (before != null) {
        throw new IllegalArgumentException("tensor " + Messages.quote(name) + " is given twice");
      }
      position = end;
    }
    return placed;
  }

  /** Length, JSON and padding. */
  private static byte[] header(Iterable<TensorInfo> tensors, Map<String, String> metadata) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(new byte[SafetensorsHeader.LENGTH_BYTES]);
    try (JsonGenerator json = StrictJson.FACTORY.createGenerator(out)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(SafetensorsHeader.METADATA_KEY);
        for (Map.Entry<String, String> entry : metadata.entrySet()) {
          json.writeStringField(entry.getKey(), entry.getValue());
        }
        json.writeEndObject();
      }
      for (TensorInfo tensor : tensors) {
        json.writeObjectFieldStart(tensor.name());
        json.writeStringField("dtype", tensor.dtype().name());
        json.writeArrayFieldStart("shape");
        for (long size : tensor.shape()) {
          json.writeNumber(size);
        }
        json.writeEndArray();
        json.writeArrayFieldStart("data_offsets");
        json.writeNumber(tensor.begin());
        json.writeNumber(tensor.end());
        json.writeEndArray();
        json.writeEndObject();
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing JSON to memory", e);
    }
    byte[] padding = new byte[Math.floorMod(-out.size(), ALIGNMENT)];
    Arrays.fill(padding, (byte) ' ');
    out.writeBytes(padding);
    byte[] header = out.toByteArray();
    ByteBuffer.wrap(header)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(0, header.length - SafetensorsHeader.LENGTH_BYTES);
    return header;
  }

  /**
   * Refuses, before any work, what its disk has no room for.
   *
   * @param file to be written
   * @throws InputException if fewer than that many bytes are free
   */
  public static void requireRoom(Path file, long bytes) {
    long free = room(file);
    if (free < bytes) {
      throw new InputException(
          file
              + ": not enough room on the disk: needs "
              + Messages.bytes(bytes)
              + ", free are "
              + Messages.bytes(free));
    }
  }

  /** Bytes that are free where a file is to be written; the largest number if that is unknown. */
  public static long room(Path file) {
    Path parent = file.toAbsolutePath().getParent();
    while (parent != null && !Files.exists(parent)) {
      parent = parent.getParent(); // to be created there
    }
    // Not Files.getFileStore, which fails below a root that is no mount point, as in a chroot.
    File folder = (parent == null ? file : parent).toFile();
    // Some network file systems report nothing at all; there the allocation decides.
    return folder.getTotalSpace() > 0 ? folder.getUsableSpace() : Long.MAX_VALUE;
  }

  /**
   * Reserves real blocks. A store into a mapped hole of a sparse file for which the disk then has
   * no block kills the process with SIGBUS, so the disk must say no here, where it is an exception.
   * posix_fallocate does that at no cost on Linux. Elsewhere (macOS, file systems without it) zeros
   * are written, which reserves blocks on every file system that overwrites in place: one more pass
   * over the page cache. On copy-on-write file systems with neither, a disk that others fill during
   * the run stays a risk that no portable call removes.
   */
  private static void allocate(Path file, FileChannel channel, long size) throws IOException {
    if (Posix.allocate(file, size)) {
      return;
    }
    writeZeros(channel, size);
  }

  static void writeZeros(FileChannel channel, long size) throws IOException {
    ByteBuffer zeros = ByteBuffer.allocateDirect(Math.toIntExact(Math.min(size, ZERO_BYTES)));
    for (long position = 0; position < size; position += zeros.capacity()) {
      zeros.clear().limit(Math.toIntExact(Math.min(zeros.capacity(), size - position)));
      writeFully(channel, zeros, position);
    }
  }

  private static void writeFully(FileChannel channel, ByteBuffer bytes, long position)
      throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  /**
   * The data of a tensor: exactly its bytes, little-endian, writable and readable, aligned to its
   * elements, valid until {@link #finish} or {@link #close}.
   *
   * @throws IllegalArgumentException if no such tensor was declared
   */
  @Override
  public MemorySegment segment(String name) {
    TensorInfo tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("tensor " + Messages.quote(name) + " was not declared");
    }
    return mapping.data().asSlice(dataOffset + tensor.begin(), tensor.byteCount());
  }

  @Override
  public List<FileMapping> mappings() {
    return List.of(mapping);
  }

  private static ExecutorService executor(String name) {
    return Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name(name).factory());
  }

  /**
   * Starts writing a part of a segment to the disk, which will not change again, while the caller
   * goes on. Only a matter of time: {@link #finish} writes everything and reports errors.
   */
  @Override
  public void writeBehind(MemorySegment part) {
    behind.execute(() -> {
      try {
        // Out of this process first: to write a page that is mapped, Linux takes it back from all
        // processors page by page, a third of the processor time of a merge.
        part.unload();
        part.force();
      } catch (RuntimeException e) {
        // finish() meets the same error and reports it.
      }
    });
  }

  private void awaitWriting() {
    if (await(behind)) {
      Thread.currentThread().interrupt();
    }
  }

  /** Ends the work of another thread, and says whether this one was interrupted meanwhile. */
  private static boolean await(ExecutorService executor) {
    executor.shutdownNow();
    boolean interrupted = false;
    while (true) {
      try {
        if (executor.awaitTermination(1, TimeUnit.DAYS)) {
          return interrupted;
        }
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
  }

  /**
   * Forces the data to the disk and closes the file; segments become invalid.
   *
   * @throws InputException if the disk reports an error
   */
  @Override
  public void finish() {
    try {
      awaitWriting();
      if (channel.size() != mapping.data().byteSize()) {
        throw new InputException(
            file + ": was cut short by another program while it was written; run again");
      }
      mapping.data().force();
      channel.force(true);
      unmap();
      channel.close();
    } catch (UncheckedIOException e) {
      throw new InputException(file + ": cannot be written: " + Reasons.of(e), e);
    } catch (IOException e) {
      throw Messages.cannotWrite(file, e);
    }
  }

  private void unmap() {
    if (arena.scope().isAlive()) {
      arena.close();
      Posix.close(mapping.descriptor());
    }
  }

  /** Lets go of the file. Does nothing after {@link #finish} or when called twice. */
  @Override
  public void close() {
    awaitWriting();
    unmap();
    try {
      channel.close();
    } catch (IOException e) {
      throw Messages.cannotWrite(file, e);
    }
  }
}
