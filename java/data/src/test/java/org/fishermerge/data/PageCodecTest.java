package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.Zstd;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What no writer writes; what writers do write is in {@link ParquetTablesTest}. */
final class PageCodecTest {
  private static final byte[] TEXT =
      "abcdeabcdeabcdeabcdeabcdeabcdef".getBytes(StandardCharsets.US_ASCII);

  /** The LZ4 block of the text: five literals, a match of 20 at distance 5, six literals. */
  private static final byte[] LZ4 =
      HexFormat.of().parseHex("5f" + "6162636465" + "0500" + "01" + "60" + "616263646566");

  private static byte[] framed(byte[]... contentsAndBlocks) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int i = 0; i < contentsAndBlocks.length; i += 2) {
      out.writeBytes(
          ByteBuffer.allocate(8)
              .putInt(contentsAndBlocks[i].length)
              .putInt(contentsAndBlocks[i + 1].length)
              .array());
      out.writeBytes(contentsAndBlocks[i + 1]);
    }
    return out.toByteArray();
  }

  @Test
  void lz4IsReadInBothOldForms() throws IOException {
    assertThat(PageCodec.LZ4_RAW.decompress(LZ4, TEXT.length)).isEqualTo(TEXT);
    assertThat(PageCodec.LZ4.decompress(LZ4, TEXT.length)).isEqualTo(TEXT);
    assertThat(PageCodec.LZ4.decompress(framed(TEXT, LZ4), TEXT.length)).isEqualTo(TEXT);
    byte[] twice = Arrays.copyOf(TEXT, 2 * TEXT.length);
    System.arraycopy(TEXT, 0, twice, TEXT.length, TEXT.length);
    assertThat(PageCodec.LZ4.decompress(framed(TEXT, LZ4, TEXT, LZ4), twice.length))
        .isEqualTo(twice);
  }

  private static byte[] snappy(int... bytes) {
    byte[] data = new byte[bytes.length];
    for (int i = 0; i < data.length; i++) {
      data[i] = (byte) bytes[i];
    }
    return data;
  }

  /** What Jazzer found: data that say they hold more than the page says overwrote the heap. */
  @Test
  void snappyDataStayInTheirRoom() throws IOException {
    assertThat(PageCodec.SNAPPY.decompress(snappy(5, 4 << 2, 'a', 'b', 'c', 'd', 'e'), 5))
        .asString(StandardCharsets.US_ASCII)
        .isEqualTo("abcde");
    byte[][] wrong = {
      snappy(0xff, 0xff, 0xff, 0xff, 7, 4 << 2, 'a', 'b', 'c', 'd', 'e'),
      snappy(0xff, 0xff, 0xff, 0xff, 15, 4 << 2, 'a', 'b', 'c', 'd', 'e'),
      snappy(7, 4 << 2, 'a', 'b', 'c', 'd', 'e'), // more than the room
      snappy(6, 4 << 2, 'a', 'b', 'c', 'd', 'e'), // more than there is
      snappy(5, 4 << 2, 'a'),
      snappy(5, 1, 9, 4 << 2), // a copy from before the beginning
      {},
    };
    for (byte[] data : wrong) {
      assertThatThrownBy(() -> PageCodec.SNAPPY.decompress(data, 5))
          .as(Arrays.toString(data))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("SNAPPY data");
    }
  }

  /** A page of a kilobyte that holds a hundred megabytes is read no further than it says. */
  @Test
  void moreThanThePageSaysIsRefused() throws IOException {
    byte[] zeros = new byte[1 << 20];
    ByteArrayOutputStream gzip = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(gzip)) {
      out.write(zeros);
    }
    assertThatThrownBy(() -> PageCodec.GZIP.decompress(gzip.toByteArray(), 100))
        .isInstanceOf(IOException.class)
        .hasMessage("GZIP data: more than the 100 bytes that the page says");
    assertThatThrownBy(() -> PageCodec.ZSTD.decompress(Zstd.compress(zeros), 100))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("ZSTD data");
    assertThatThrownBy(() -> PageCodec.LZ4_RAW.decompress(LZ4, 10))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("more than the 10 bytes");
    // A last empty metablock, which is the whole of an empty Brotli stream.
    assertThatThrownBy(() -> PageCodec.BROTLI.decompress(new byte[] {6}, 10))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("0 bytes where the page says 10");
  }

  @ParameterizedTest
  @EnumSource(PageCodec.class)
  void noiseIsRefused(PageCodec codec) {
    byte[] noise = new byte[64];
    Arrays.fill(noise, (byte) 0xee);
    assertThatThrownBy(() -> codec.decompress(noise, 1000))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(codec.name());
  }

  @Test
  void aCodecThatNobodyKnowsIsRefused() {
    assertThatThrownBy(() -> PageCodec.numbered(8)).hasMessageContaining("unknown number 8");
  }
}
