package org.fishermerge.data;

import dev.hardwood.InputFile;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A Parquet file that is read, not mapped: where another process cuts a mapped file short, a page
 * codec that is native code would take the JVM down with it. Here that is an exception. Its footer
 * is checked when it is opened, and who reads it in circles, led by what pages say of their sizes,
 * is stopped.
 */
final class ParquetInput implements InputFile {
  /** Reads of one file are few and long; these are far more than any order of reading takes. */
  private static final long READS = 1000;

  private static final int BYTES_PER_READ = 64;
  private static final int TIMES_READ = 8;

  private final Path path;
  private final AtomicLong reads = new AtomicLong();
  private final AtomicLong bytesRead = new AtomicLong();
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
    if (reads.incrementAndGet() > READS + file.size() / BYTES_PER_READ
        || bytesRead.addAndGet(length) > TIMES_READ * (READS * BYTES_PER_READ + file.size())) {
      throw new IOException("sizes in it lead in circles");
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
