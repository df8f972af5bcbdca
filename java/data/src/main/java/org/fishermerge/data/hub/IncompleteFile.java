package org.fishermerge.data.hub;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The part of a blob that has arrived, in {@code blobs/TAG.fisher-merge-UNIQUE.incomplete}. It
 * stays when the download is cut off, and the next one goes on with it.
 *
 * <p>Should two processes write one in spite of {@link BlobLock}, they write the same bytes to the
 * same places: it is never truncated, only left for a new one.
 */
final class IncompleteFile implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(IncompleteFile.class.getName());
  private static final String INFIX = ".fisher-merge-";
  private static final String SUFFIX = ".incomplete";

  private final HubCache cache;
  private final Path blob;
  private Path path;
  private FileChannel channel;
  private long position;
  private @Nullable MessageDigest sha256;

  private IncompleteFile(HubCache cache, Path blob, Path path) throws IOException {
    this.cache = cache;
    this.blob = blob;
    this.path = path;
    this.channel = open(path);
    this.sha256 = newDigest();
  }

  /** To be called, and used, under the blob's lock. */
  static IncompleteFile of(HubCache cache, Path blob, long size) {
    Path folder = Objects.requireNonNull(blob.getParent());
    try {
      Files.createDirectories(folder);
      Path largest = null;
      for (Path leftover : leftovers(blob)) {
        boolean usable = size < 0 || Files.size(leftover) <= size;
        if (usable && (largest == null || Files.size(leftover) > Files.size(largest))) {
          largest = leftover;
        }
      }
      for (Path leftover : leftovers(blob)) {
        if (!leftover.equals(largest)) {
          Files.deleteIfExists(leftover);
        }
      }
      IncompleteFile file =
          new IncompleteFile(cache, blob, largest == null ? newPath(blob) : largest);
      try {
        file.readWhatIsThere();
      } catch (Throwable e) {
        file.close();
        throw e;
      }
      return file;
    } catch (IOException e) {
      throw cache.cannotWrite(folder, e);
    }
  }

  /** How much of a blob earlier downloads have left. */
  static long leftover(Path blob) {
    try {
      long largest = 0;
      for (Path leftover : leftovers(blob)) {
        largest = Math.max(largest, Files.size(leftover));
      }
      return largest;
    } catch (IOException e) {
      // Renamed meanwhile by the one who writes it.
      return 0;
    }
  }

  private static List<Path> leftovers(Path blob) throws IOException {
    Path folder = Objects.requireNonNull(blob.getParent());
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return new ArrayList<>(
          entries
              .filter(entry -> {
                String name = String.valueOf(entry.getFileName());
                return name.startsWith(blob.getFileName() + INFIX) && name.endsWith(SUFFIX);
              })
              .toList());
    }
  }

  private static Path newPath(Path blob) {
    return blob.resolveSibling(blob.getFileName() + INFIX + UniqueName.next() + SUFFIX);
  }

  private static FileChannel open(Path path) throws IOException {
    return FileChannel.open(
        path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
  }

  private @Nullable MessageDigest newDigest() {
    return ContentHash.of(tag()) == ContentHash.SHA256 ? ContentHash.sha256() : null;
  }

  private String tag() {
    return String.valueOf(blob.getFileName());
  }

  private void readWhatIsThere() throws IOException {
    long size = channel.size();
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
    while (position < size) {
      int n = channel.read(buffer.clear(), position);
      if (n < 0) {
        break;
      }
      digest(buffer.array(), n);
      position += n;
    }
  }

  private void digest(byte[] bytes, int count) {
    if (sha256 != null) {
      sha256.update(bytes, 0, count);
    }
  }

  long position() {
    return position;
  }

  void append(byte[] bytes, int count) {
    try {
      for (ByteBuffer rest = ByteBuffer.wrap(bytes, 0, count); rest.hasRemaining(); ) {
        channel.write(rest, position + rest.position());
      }
    } catch (IOException e) {
      throw Thread.currentThread().isInterrupted()
          ? Interrupted.exception(e)
          : cache.cannotWrite(path, e);
    }
    digest(bytes, count);
    position += count;
  }

  /** Begins again with nothing, in another file. */
  void restart() {
    if (position == 0) {
      return;
    }
    try {
      channel.close();
      Files.deleteIfExists(path);
      path = newPath(blob);
      channel = open(path);
    } catch (IOException e) {
      throw cache.cannotWrite(path, e);
    }
    position = 0;
    sha256 = newDigest();
  }

  /** The hash of everything; null if the tag is none. The file is complete now. */
  @Nullable String hash() {
    try {
      ContentHash hash = ContentHash.of(tag());
      if (sha256 != null) {
        return ContentHash.hex(sha256);
      }
      return hash == ContentHash.NONE ? null : hash.of(path);
    } catch (IOException e) {
      throw HubCache.cannotRead(path, e);
    }
  }

  /** Makes it the blob, for good. */
  void publish() {
    try {
      channel.force(true);
      channel.close();
      Files.move(path, blob, StandardCopyOption.ATOMIC_MOVE);
      HubCache.force(Objects.requireNonNull(blob.getParent()));
    } catch (NoSuchFileException e) {
      if (!Files.exists(blob)) {
        throw cache.cannotWrite(blob, e);
      }
      LOGGER.log(Level.DEBUG, "another process was faster", e);
    } catch (IOException e) {
      throw cache.cannotWrite(blob, e);
    }
  }

  /** Keeps what has arrived, unless that is nothing. */
  @Override
  public void close() {
    try {
      channel.close();
      if (position == 0) {
        Files.deleteIfExists(path);
      }
    } catch (IOException e) {
      LOGGER.log(Level.DEBUG, "closing " + path, e);
    }
  }
}
