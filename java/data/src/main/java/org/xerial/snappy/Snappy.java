package org.xerial.snappy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.commons.compress.compressors.snappy.SnappyCompressorInputStream;

/**
 * Decompression of Parquet pages, under the name by which hardwood looks for its Snappy codec. It
 * stands in for snappy-java, whose method of this name writes as many bytes as the compressed data
 * says, whatever room there is: a hostile file overwrote the heap of the process (found by
 * fuzzing). Here the room is respected, and nothing native runs.
 */
public final class Snappy {
  /** How far back a copy may reach: what compressors work on at a time. */
  private static final int WINDOW = 1 << 16;

  private static final int CHUNK = 1 << 13;

  private Snappy() {}

  /**
   * Decompresses all that remains of {@code compressed} to the position of {@code uncompressed},
   * and sets the limit of that to the end.
   *
   * @return the number of bytes
   * @throws IOException if the data are damaged or need more room than remains
   */
  public static int uncompress(ByteBuffer compressed, ByteBuffer uncompressed) throws IOException {
    byte[] in = new byte[compressed.remaining()];
    compressed.duplicate().get(in);
    try (SnappyCompressorInputStream stream =
        new SnappyCompressorInputStream(new ByteArrayInputStream(in), WINDOW)) {
      int size = stream.getSize();
      if (size < 0 || size > uncompressed.remaining()) {
        throw new IOException(
            "Snappy data say that they hold %d bytes; expected at most %d"
                .formatted(size, uncompressed.remaining()));
      }
      ByteBuffer out = uncompressed.duplicate();
      byte[] chunk = new byte[CHUNK];
      for (int left = size; left > 0; ) {
        int read = stream.read(chunk, 0, Math.min(CHUNK, left));
        if (read <= 0) {
          throw new IOException(
              "Snappy data end %d bytes before the %d they say".formatted(left, size));
        }
        out.put(chunk, 0, read);
        left -= read;
      }
      uncompressed.limit(uncompressed.position() + size);
      return size;
    } catch (IllegalArgumentException e) {
      throw new IOException("damaged Snappy data: " + e.getMessage(), e);
    }
  }
}
