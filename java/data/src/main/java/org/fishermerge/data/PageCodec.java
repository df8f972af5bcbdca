package org.fishermerge.data;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import org.apache.commons.compress.compressors.lz4.BlockLZ4CompressorInputStream;
import org.apache.commons.compress.compressors.snappy.SnappyCompressorInputStream;
import org.brotli.dec.BrotliInputStream;

/**
 * The codecs of Parquet's pages, by their numbers in the format. Whatever the compressed bytes say
 * of themselves, no more comes out than the page says it has.
 */
enum PageCodec {
  UNCOMPRESSED,
  SNAPPY,
  GZIP,
  LZO,
  BROTLI,
  LZ4,
  ZSTD,
  LZ4_RAW;

  /** How far back a copy in Snappy data may reach: what compressors work on at a time. */
  private static final int SNAPPY_WINDOW = 1 << 16;

  /** Compressed size and content size, before each block of what Hadoop calls LZ4. */
  private static final int HADOOP_HEADER = 2 * Integer.BYTES;

  static PageCodec numbered(long number) throws IOException {
    if (number < 0 || number >= values().length) {
      throw new IOException("a page codec of the unknown number " + number);
    }
    return values()[(int) number];
  }

  /**
   * Decompresses.
   *
   * @param size of the content, in bytes
   * @throws IOException if the data hold anything else
   */
  byte[] decompress(byte[] data, int size) throws IOException {
    if (size == 0) {
      return new byte[0];
    }
    try {
      return switch (this) {
        case UNCOMPRESSED -> exactly(data, size);
        case SNAPPY -> all(snappy(data, size), size);
        case GZIP -> all(new GZIPInputStream(new ByteArrayInputStream(data)), size);
        case BROTLI -> all(new BrotliInputStream(new ByteArrayInputStream(data)), size);
        case LZ4 -> oldLz4(data, size);
        case LZ4_RAW -> lz4(data, size);
        case ZSTD -> zstd(data, size);
        case LZO ->
            throw new IOException(
                "LZO compression is not supported; write the file with another, such as zstd");
      };
    } catch (IOException e) {
      throw new IOException("%s data: %s".formatted(this, e.getMessage()), e);
    } catch (RuntimeException e) {
      // The decoders report some damaged data by whatever they happen to run into.
      throw new IOException("damaged %s data".formatted(this), e);
    }
  }

  private static byte[] exactly(byte[] data, int size) throws IOException {
    if (data.length != size) {
      throw new IOException("%d bytes where the page says %d".formatted(data.length, size));
    }
    return data;
  }

  private static byte[] all(InputStream in, int size) throws IOException {
    try (in) {
      byte[] content = in.readNBytes(size);
      if (content.length < size) {
        throw new IOException("%d bytes where the page says %d".formatted(content.length, size));
      }
      if (in.read() >= 0) {
        throw new IOException("more than the %d bytes that the page says".formatted(size));
      }
      return content;
    }
  }

  private static InputStream snappy(byte[] data, int size) throws IOException {
    SnappyCompressorInputStream in =
        new SnappyCompressorInputStream(new ByteArrayInputStream(data), SNAPPY_WINDOW);
    if (in.getSize() != size) {
      throw new IOException(
          "they say that they hold %d bytes, and the page %d".formatted(in.getSize(), size));
    }
    return in;
  }

  private static byte[] lz4(byte[] data, int size) throws IOException {
    return all(new BlockLZ4CompressorInputStream(new ByteArrayInputStream(data)), size);
  }

  /** Blocks as Hadoop frames them, or one without a frame, as other writers had it. */
  private static byte[] oldLz4(byte[] data, int size) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(data);
    ByteBuffer out = ByteBuffer.allocate(size);
    while (in.remaining() >= HADOOP_HEADER) {
      int content = in.getInt();
      int compressed = in.getInt();
      if (compressed < 0
          || compressed > in.remaining()
          || content < 0
          || content > out.remaining()) {
        return lz4(data, size);
      }
      byte[] block = new byte[compressed];
      in.get(block);
      out.put(lz4(block, content));
    }
    return in.hasRemaining() || out.hasRemaining() ? lz4(data, size) : out.array();
  }

  private static byte[] zstd(byte[] data, int size) throws IOException {
    byte[] content = new byte[size];
    try {
      long written = Zstd.decompressByteArray(content, 0, size, data, 0, data.length);
      return exactly(Arrays.copyOf(content, Math.toIntExact(written)), size);
    } catch (ZstdException e) {
      throw new IOException(e.getMessage(), e);
    }
  }
}
