package org.fishermerge.data;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.zip.CRC32;

/**
 * A column chunk of a Parquet file without its compression: the same pages, each with a header that
 * says so. The pages' headers are read at once, their contents when they are asked for.
 */
final class ParquetPages {
  // The fields of PageHeader and of its parts.
  private static final int TYPE = 1;
  private static final int UNCOMPRESSED_SIZE = 2;
  private static final int COMPRESSED_SIZE = 3;
  private static final int CRC = 4;
  private static final int DATA_PAGE = 5;
  private static final int DATA_PAGE_V2 = 8;
  private static final int VALUES = 1;
  private static final int DEFINITION_BYTES = 5;
  private static final int REPETITION_BYTES = 6;
  private static final int IS_COMPRESSED = 7;
  private static final long DICTIONARY = 2;

  /** Holds almost every header; of the others more is read. */
  private static final int HEADER_BYTES = 512;

  private static final int MOST_HEADER_BYTES = 1 << 24;

  /** As much as writers put into one page, many times over. */
  private static final long MOST_PAGE_BYTES = 1 << 30;

  /** Reads bytes of the file. */
  interface Source {
    ByteBuffer read(long offset, int length) throws IOException;
  }

  /**
   * A page.
   *
   * @param start where its header is in what {@link ParquetPages} gives
   * @param header as it is given
   * @param offset of what follows the header in the file
   * @param stored bytes of that
   * @param plain bytes of it that are not compressed, at its beginning
   * @param size of its content
   */
  private record Page(
      long start,
      byte[] header,
      long offset,
      int stored,
      int plain,
      int size,
      PageCodec codec,
      OptionalLong crc,
      boolean dictionary) {
    long end() {
      return start + header.length + size;
    }
  }

  private final Source source;
  private final List<Page> pages = new ArrayList<>();
  private int kept = -1;
  private byte[] content = new byte[0];

  /**
   * Reads the headers.
   *
   * @param start of the first page in the file
   * @param end where there is none any more
   * @param values that the pages have together
   */
  ParquetPages(Source source, PageCodec codec, long start, long end, long values)
      throws IOException {
    this.source = source;
    long at = start;
    long read = 0;
    while (read < values) {
      if (at >= end) {
        throw new IOException("its pages hold %d of %d values".formatted(read, values));
      }
      Located located = header(at, end);
      ThriftStruct header = located.header;
      at += located.bytes;
      long stored = header.integer(COMPRESSED_SIZE).orElse(-1);
      long size = header.integer(UNCOMPRESSED_SIZE).orElse(-1);
      if (stored < 0 || stored > end - at || size < 0 || size > MOST_PAGE_BYTES) {
        throw new IOException(
            "a page says that it has %d bytes, %d of content, where %d are left; sizes in it are"
                    .formatted(stored, size, end - at)
                + " wrong");
      }
      read +=
          header.struct(DATA_PAGE).or(() -> header.struct(DATA_PAGE_V2)).stream()
              .mapToLong(page -> Math.max(0, page.integer(VALUES).orElse(0)))
              .sum();
      pages.add(page(header, codec, at, (int) stored, (int) size));
      at += stored;
    }
  }

  private record Located(ThriftStruct header, int bytes) {}

  private Located header(long at, long end) throws IOException {
    for (int length = HEADER_BYTES; ; length *= 8) {
      ByteBuffer bytes = source.read(at, (int) Math.min(length, end - at));
      try {
        ThriftStruct header = ThriftStruct.read(bytes, "a page's header");
        return new Located(header, bytes.position());
      } catch (BufferUnderflowException | IOException e) {
        // A length in it that seems too much may only be more than was read.
        if (length >= end - at || length > MOST_HEADER_BYTES) {
          throw e instanceof IOException known
              ? known
              : new IOException("a page's header ends in the middle of a value", e);
        }
      }
    }
  }

  private Page page(ThriftStruct header, PageCodec codec, long offset, int stored, int size)
      throws IOException {
    int plain = 0;
    PageCodec used = codec;
    ThriftStruct second = header.struct(DATA_PAGE_V2).orElse(null);
    if (second != null) {
      long levels =
          second.integer(DEFINITION_BYTES).orElse(0) + second.integer(REPETITION_BYTES).orElse(0);
      if (levels < 0 || levels > Math.min(stored, size)) {
        throw new IOException("a page says that %d of its bytes are levels".formatted(levels));
      }
      plain = (int) levels;
      if (!second.flag(IS_COMPRESSED, true)) {
        used = PageCodec.UNCOMPRESSED;
      }
      second.set(IS_COMPRESSED, false);
    }
    OptionalLong crc = header.integer(CRC);
    header.remove(CRC);
    header.set(COMPRESSED_SIZE, size);
    boolean dictionary = header.integer(TYPE).orElse(-1) == DICTIONARY;
    long start = pages.isEmpty() ? 0 : pages.getLast().end();
    return new Page(start, header.bytes(), offset, stored, plain, size, used, crc, dictionary);
  }

  /** Bytes of all pages together. */
  long length() {
    return pages.isEmpty() ? 0 : pages.getLast().end();
  }

  /** Where the first page is that holds data; empty if it comes first of all. */
  OptionalLong afterDictionary() {
    return !pages.isEmpty() && pages.getFirst().dictionary
        ? OptionalLong.of(pages.getFirst().end())
        : OptionalLong.empty();
  }

  /** Copies bytes from a place on; returns how many, which ends with the page. */
  int copy(long from, ByteBuffer into) throws IOException {
    int index = find(from);
    Page page = pages.get(index);
    int at = (int) (from - page.start);
    byte[] bytes = at < page.header.length ? page.header : content(index);
    int skipped = at < page.header.length ? at : at - page.header.length;
    int count = Math.min(into.remaining(), bytes.length - skipped);
    into.put(bytes, skipped, count);
    return count;
  }

  private int find(long from) {
    int low = 0;
    int high = pages.size() - 1;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (from < pages.get(middle).end()) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  /** The content of a page, the last of which is kept. */
  private byte[] content(int index) throws IOException {
    if (kept == index) {
      return content;
    }
    Page page = pages.get(index);
    ByteBuffer stored = source.read(page.offset, page.stored);
    if (page.crc.isPresent()) {
      CRC32 sum = new CRC32();
      sum.update(stored.duplicate());
      if ((int) sum.getValue() != (int) page.crc.getAsLong()) {
        throw new IOException("a page is damaged: its checksum is another");
      }
    }
    ByteBuffer whole = ByteBuffer.allocate(page.size);
    whole.put(stored.slice(0, page.plain));
    byte[] rest = new byte[page.stored - page.plain];
    stored.get(page.plain, rest);
    whole.put(page.codec.decompress(rest, page.size - page.plain));
    kept = index;
    content = whole.array();
    return content;
  }
}
