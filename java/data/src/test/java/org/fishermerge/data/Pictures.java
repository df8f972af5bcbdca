package org.fishermerge.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import org.jspecify.annotations.Nullable;

/** A PNG writer of its own for tests: every colour type and bit depth, interlaced or not. */
final class Pictures {
  private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

  /** First row and column, and steps, of the seven passes of Adam7. */
  private static final int[][] ADAM7 = {
    {0, 0, 8, 8}, {0, 4, 8, 8}, {4, 0, 8, 4}, {0, 2, 4, 4}, {2, 0, 4, 2}, {0, 1, 2, 2}, {1, 0, 2, 1}
  };

  private Pictures() {}

  /** The sample of channel c at column x and row y. */
  interface Samples {
    int at(int x, int y, int c);
  }

  static byte[] png(int width, int height, Samples rgb) {
    return png(width, height, 8, 2, false, null, rgb);
  }

  static byte[] png(
      int width,
      int height,
      int bitDepth,
      int colorType,
      boolean interlaced,
      byte @Nullable [] palette,
      Samples samples) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(SIGNATURE);
    out.writeBytes(header(width, height, bitDepth, colorType, interlaced));
    if (palette != null) {
      out.writeBytes(chunk("PLTE", palette));
    }
    int channels = new int[] {1, 0, 3, 1, 2, 0, 4}[colorType];
    ByteArrayOutputStream raw = new ByteArrayOutputStream();
    int[][] passes = interlaced ? ADAM7 : new int[][] {{0, 0, 1, 1}};
    for (int[] pass : passes) {
      for (int y = pass[0]; y < height && pass[1] < width; y += pass[2]) {
        raw.write(0); // no filter
        int bits = 0;
        int held = 0;
        for (int x = pass[1]; x < width; x += pass[3]) {
          for (int c = 0; c < channels; c++) {
            int sample = samples.at(x, y, c);
            if (bitDepth == 16) {
              raw.write(sample >> 8);
            }
            int width8 = Math.min(bitDepth, 8);
            held = (held << width8) | (sample & ((1 << width8) - 1));
            bits += Math.min(bitDepth, 8);
            if (bits == 8) {
              raw.write(held);
              bits = 0;
            }
          }
        }
        if (bits > 0) {
          raw.write(held << (8 - bits));
        }
      }
    }
    out.writeBytes(chunk("IDAT", deflate(raw.toByteArray())));
    out.writeBytes(chunk("IEND", new byte[0]));
    return out.toByteArray();
  }

  /** A header, a little data and the end: what a decompression bomb begins with. */
  static byte[] pngClaiming(int width, int height) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(SIGNATURE);
    out.writeBytes(header(width, height, 8, 2, false));
    out.writeBytes(chunk("IDAT", deflate(new byte[64])));
    out.writeBytes(chunk("IEND", new byte[0]));
    return out.toByteArray();
  }

  private static byte[] header(
      int width, int height, int bitDepth, int colorType, boolean interlaced) {
    byte[] header =
        ByteBuffer.allocate(13)
            .putInt(width)
            .putInt(height)
            .put((byte) bitDepth)
            .put((byte) colorType)
            .put(12, (byte) (interlaced ? 1 : 0))
            .array();
    return chunk("IHDR", header);
  }

  private static byte[] chunk(String type, byte[] data) {
    byte[] body =
        ByteBuffer.allocate(4 + data.length)
            .put(type.getBytes(StandardCharsets.US_ASCII))
            .put(data)
            .array();
    CRC32 crc = new CRC32();
    crc.update(body);
    return ByteBuffer.allocate(8 + body.length)
        .putInt(data.length)
        .put(body)
        .putInt((int) crc.getValue())
        .array();
  }

  private static byte[] deflate(byte[] raw) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Deflater deflater = new Deflater();
    try (DeflaterOutputStream zip = new DeflaterOutputStream(out, deflater)) {
      zip.write(raw);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      deflater.end();
    }
    return out.toByteArray();
  }
}
