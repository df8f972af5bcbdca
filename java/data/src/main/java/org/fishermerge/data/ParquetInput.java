package org.fishermerge.data;

import dev.hardwood.InputFile;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * A Parquet file that is read, not mapped: where another process cuts a mapped file short, a page
 * codec that is native code would take the JVM down with it. Here that is an exception. Its footer
 * is checked when it is opened.
 */
final class ParquetInput implements InputFile {
  private final Path path;
  private @Nullable FileChannel channel;

  ParquetInput(Path path) {
    this.path = path;
  }

  @Override
  public void open() throws IOException {
    if (channel == null) {
      channel = FileChannel.open(path, StandardOpenOption.READ);
      try {
        ParquetFooter.check(this);
      } catch (IOException e) {
        close();
        throw e;
      }
    }
  }

  @Override
  public ByteBuffer readRange(long offset, int length) throws IOException {
    FileChannel file = opened();
    if (offset < 0 || length < 0 || length > file.size() - offset) {
      throw new EOFException(
          "needs %d bytes from %d on; the file has %d".formatted(length, offset, file.size()));
    }
    ByteBuffer range = ByteBuffer.allocate(length);
    while (range.hasRemaining()) {
      if (file.read(range, offset + range.position()) < 0) {
        throw new EOFException("was cut short while it was read");
      }
    }
    return range.flip();
  }

  private FileChannel opened() {
    if (channel == null) {
      throw new IllegalStateException(path + " is not open");
    }
    return channel;
  }

  @Override
  public long length() throws IOException {
    return opened().size();
  }

  @Override
  public String name() {
    return path.toString();
  }

  @Override
  public void close() throws IOException {
    if (channel != null) {
      channel.close();
    }
  }
}
