package org.fishermerge.data;

import dev.hardwood.InputFile;
import java.io.EOFException;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A Parquet file as hardwood is given it: without compression, and with as many of its row groups
 * as are wanted. Behind the file's own bytes, in place of its footer, follow the wanted columns'
 * pages decompressed ({@link ParquetPages}) and a footer that points to them. So hardwood needs no
 * codecs, of which it would use some that trust what compressed bytes say of their length; and
 * sizes that it goes by have been checked here.
 *
 * <p>The file is read, not mapped: where another process cuts a mapped file short, the JVM dies of
 * it. Who reads it in circles, led by what the file says of sizes, is stopped. For one thread at a
 * time.
 */
final class ParquetInput implements InputFile {
  private static final byte[] MAGIC = "PAR1".getBytes(StandardCharsets.US_ASCII);
  private static final int TAIL_BYTES = 8;

  // The fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
  private static final int FILE_ROWS = 3;
  private static final int ROW_GROUPS = 4;
  private static final int CHUNKS = 1;
  private static final int GROUP_ROWS = 3;
  private static final int CHUNK_OFFSET = 2;
  private static final int CHUNK_DATA = 3;
  private static final int[] INDEXES = {4, 5, 6, 7};
  private static final int PATH = 3;
  private static final int CODEC = 4;
  private static final int VALUES = 5;
  private static final int UNCOMPRESSED_SIZE = 6;
  private static final int COMPRESSED_SIZE = 7;
  private static final int DATA_OFFSET = 9;
  private static final int INDEX_OFFSET = 10;
  private static final int DICTIONARY_OFFSET = 11;
  private static final int[] BLOOM_FILTER = {14, 15};

  /** Reads of one file are few and long; these are far more than any order of reading takes. */
  private static final long READS = 1000;

  private static final int BYTES_PER_READ = 64;
  private static final int TIMES_READ = 8;

  private final Path path;
  private final Set<String> columns;
  private final int onlyGroup;
  private final AtomicLong reads = new AtomicLong();
  private final AtomicLong bytesRead = new AtomicLong();
  private final TreeMap<Long, ParquetPages> chunks = new TreeMap<>();
  private @Nullable FileChannel channel;

  /** Bytes of the file's own that are given as they are. */
  private long own;

  /** Where the new footer begins. */
  private long footerStart;

  private byte[] footer = new byte[0];

  private ParquetInput(Path path, Set<String> columns, int onlyGroup) {
    this.path = path;
    this.columns = Set.copyOf(columns);
    this.onlyGroup = onlyGroup;
  }

  /** For its footer alone. */
  static ParquetInput footer(Path path) {
    return new ParquetInput(path, Set.of(), -1);
  }

  /**
   * For columns of all row groups.
   *
   * @param columns by their paths, with dots
   */
  static ParquetInput columns(Path path, Set<String> columns) {
    return new ParquetInput(path, columns, -1);
  }

  /** For columns of one row group, which is then the only one. */
  static ParquetInput columns(Path path, Set<String> columns, int group) {
    return new ParquetInput(path, columns, group);
  }

  @Override
  public void open() throws IOException {
    if (channel == null) {
      channel = FileChannel.open(path, StandardOpenOption.READ);
      try {
        rewrite(channel.size());
      } catch (IOException | RuntimeException e) {
        close();
        throw e;
      }
    }
  }

  /** What is no Parquet file at all is left to hardwood, which says so. */
  private void rewrite(long length) throws IOException {
    own = length;
    footerStart = length;
    if (length < Integer.BYTES + TAIL_BYTES) {
      return;
    }
    ByteBuffer tail = own(length - TAIL_BYTES, TAIL_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    int bytes = tail.getInt();
    byte[] magic = new byte[MAGIC.length];
    tail.get(magic);
    if (!Arrays.equals(magic, MAGIC) || bytes < 0 || bytes > length - TAIL_BYTES) {
      return;
    }
    ThriftStruct stated;
    try {
      stated = ThriftStruct.read(own(length - TAIL_BYTES - bytes, bytes), "its footer");
    } catch (BufferUnderflowException e) {
      throw new IOException("its footer ends in the middle of a value", e);
    }
    if (columns.isEmpty()) {
      return;
    }
    own = length - TAIL_BYTES - bytes;
    footerStart = own;
    List<ThriftStruct> groups = stated.structs(ROW_GROUPS);
    if (onlyGroup >= 0) {
      if (onlyGroup >= groups.size()) {
        throw new IOException("it has fewer row groups than before");
      }
      groups = List.of(groups.get(onlyGroup));
      stated.set(ROW_GROUPS, groups);
      stated.set(FILE_ROWS, groups.getFirst().integer(GROUP_ROWS).orElse(0));
    }
    for (ThriftStruct group : groups) {
      for (ThriftStruct chunk : group.structs(CHUNKS)) {
        ThriftStruct data = chunk.struct(CHUNK_DATA).orElse(null);
        if (data != null && columns.contains(String.join(".", data.texts(PATH)))) {
          rewrite(chunk, data);
        }
      }
    }
    byte[] rewritten = stated.bytes();
    footer =
        ByteBuffer.allocate(rewritten.length + TAIL_BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(rewritten)
            .putInt(rewritten.length)
            .put(MAGIC)
            .array();
  }

  private void rewrite(ThriftStruct chunk, ThriftStruct data) throws IOException {
    long first = data.integer(DATA_OFFSET).orElse(-1);
    OptionalLong dictionary = data.integer(DICTIONARY_OFFSET);
    long start =
        dictionary.isPresent() && dictionary.getAsLong() > 0
            ? Math.min(first, dictionary.getAsLong())
            : first;
    long size = data.integer(COMPRESSED_SIZE).orElse(-1);
    if (start < 0 || size < 0 || size > own - start) {
      throw new IOException(
          "a column's pages are said to take %d bytes from %d on; the file has %d"
              .formatted(size, start, own));
    }
    ParquetPages pages =
        new ParquetPages(
            this::own,
            PageCodec.numbered(data.integer(CODEC).orElse(-1)),
            start,
            start + size,
            data.integer(VALUES).orElse(0));
    long at = footerStart;
    chunks.put(at, pages);
    footerStart += pages.length();
    chunk.set(CHUNK_OFFSET, at);
    chunk.remove(INDEXES);
    data.set(CODEC, PageCodec.UNCOMPRESSED.ordinal());
    data.set(UNCOMPRESSED_SIZE, pages.length());
    data.set(COMPRESSED_SIZE, pages.length());
    data.remove(INDEX_OFFSET, DICTIONARY_OFFSET);
    data.remove(BLOOM_FILTER);
    pages.afterDictionary().ifPresent(after -> data.set(DICTIONARY_OFFSET, at));
    data.set(DATA_OFFSET, at + pages.afterDictionary().orElse(0));
  }

  @Override
  public ByteBuffer readRange(long offset, int length) throws IOException {
    if (offset < 0 || length < 0 || length > length() - offset) {
      throw new EOFException(
          "needs %d bytes from %d on; the file has %d".formatted(length, offset, length()));
    }
    if (reads.incrementAndGet() > READS + length() / BYTES_PER_READ
        || bytesRead.addAndGet(length) > TIMES_READ * (READS * BYTES_PER_READ + length())) {
      throw new IOException("sizes in it lead in circles");
    }
    if (offset + length <= own) {
      return own(offset, length);
    }
    ByteBuffer range = ByteBuffer.allocate(length);
    while (range.hasRemaining()) {
      long at = offset + range.position();
      if (at < own) {
        range.put(own(at, (int) Math.min(range.remaining(), own - at)));
      } else if (at >= footerStart) {
        range.put(footer, (int) (at - footerStart), range.remaining());
      } else {
        Map.Entry<Long, ParquetPages> chunk = chunks.floorEntry(at);
        chunk.getValue().copy(at - chunk.getKey(), range);
      }
    }
    return range.flip();
  }

  /** Bytes of the file itself. */
  private ByteBuffer own(long offset, int length) throws IOException {
    FileChannel file = opened();
    if (length > file.size() - offset) {
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
  public long length() {
    return footerStart + footer.length;
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
