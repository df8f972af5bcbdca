package org.fishermerge.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * Windows bitmaps of 1 to 32 bits, by Pillow's reading of them: alpha is none in plain 32-bit
 * pictures, masks only those that it knows. (The JDK's reader takes other masks and ends runs
 * otherwise.)
 */
final class BmpPicture {
  private static final int RUNS_OF_8_BITS = 1;
  private static final int RUNS_OF_4_BITS = 2;
  private static final int MASKS = 3;

  private final ByteBuffer in;
  private final int headerSize;
  private int width;
  private int height;
  private boolean topDown;
  private int bits;
  private int compression;
  private int colours;
  private int[] masks = {0xff0000, 0xff00, 0xff};
  private boolean alpha;

  private BmpPicture(byte[] bmp) {
    in = ByteBuffer.wrap(bmp).order(ByteOrder.LITTLE_ENDIAN);
    headerSize = in.getInt(14);
  }

  static RgbImage decode(byte[] encoded) throws IOException {
    return new BmpPicture(encoded).toRgb();
  }

  private RgbImage toRgb() throws IOException {
    int tables = readHeader();
    long pixels = Integer.toUnsignedLong(in.getInt(10));
    int entry = headerSize == 12 ? 3 : 4;
    if (pixels == 0) {
      pixels = tables + (bits <= 8 ? (long) entry * colours : 0);
    } else if (pixels == 14 + headerSize && bits <= 8) {
      pixels += (long) entry * colours; // some writers leave the colours out of the offset
    }
    if (pixels > in.capacity()) {
      throw cutOff();
    }
    return switch (bits) {
      case 1, 4, 8 -> fromIndices(tables, entry, (int) pixels);
      case 16 -> fromShorts((int) pixels);
      default -> fromBytes((int) pixels);
    };
  }

  /** Returns where the colours begin. */
  private int readHeader() throws IOException {
    long tall;
    if (headerSize == 12) {
      width = Short.toUnsignedInt(in.getShort(18));
      tall = Short.toUnsignedInt(in.getShort(20));
      bits = in.getShort(24);
    } else if (headerSize == 40
        || headerSize == 52
        || headerSize == 56
        || headerSize == 64
        || headerSize == 108
        || headerSize == 124) {
      PictureDecoder.checkSize(Integer.toUnsignedLong(in.getInt(18)), 1);
      width = in.getInt(18);
      topDown = in.get(25) == (byte) 0xff;
      tall = topDown ? -(long) in.getInt(22) : Integer.toUnsignedLong(in.getInt(22));
      bits = in.getShort(28);
      compression = in.getInt(30);
      colours = in.getInt(46);
    } else {
      throw new IOException(
          "the BMP has a header of " + headerSize + " bytes, which no version has");
    }
    PictureDecoder.checkSize(width, tall);
    height = (int) tall;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
      throw new IOException("BMP with " + bits + " bits per pixel");
    }
    boolean runs = compression == RUNS_OF_8_BITS || compression == RUNS_OF_4_BITS;
    if (compression != 0 && !(runs && bits <= 8) && !(compression == MASKS && bits > 8)) {
      throw new IOException("BMP of %d bits with compression %d".formatted(bits, compression));
    }
    if (colours == 0) {
      colours = 1 << Math.min(bits, 16);
    }
    if (bits <= 8 && (colours < 0 || colours > 65_536)) {
      throw new IOException("BMP with " + Integer.toUnsignedString(colours) + " colours");
    }
    if (compression == MASKS) {
      readMasks();
    }
    return 14 + headerSize + (compression == MASKS && headerSize == 40 ? 12 : 0);
  }

  private void readMasks() throws IOException {
    int alphaMask = headerSize >= 56 ? in.getInt(66) : 0;
    masks = new int[] {in.getInt(54), in.getInt(58), in.getInt(62)};
    String text = "%x %x %x %x".formatted(masks[0], masks[1], masks[2], alphaMask);
    boolean known =
        switch (bits) {
          case 16 -> text.startsWith("f800 7e0 1f ") || text.startsWith("7c00 3e0 1f ");
          case 24 -> text.startsWith("ff0000 ff00 ff ");
          default ->
              text.matches(
                  "(ff0000 ff00 ff|ff000000 ff0000 ff00|ff000000 ff00 ff|0 0 0) 0"
                      + "|ff000000 ff0000 ff00 ff|ff ff00 ff0000 ff000000"
                      + "|ff0000 ff00 ff ff000000|ff000000 ff00 ff ff0000");
        };
    if (!known) {
      throw new IOException("BMP of %d bits with the unusual masks %s".formatted(bits, text));
    }
    alpha = bits == 32 && (alphaMask != 0 || masks[0] == 0);
    if (bits == 32 && masks[0] == 0) {
      masks = new int[] {0xff0000, 0xff00, 0xff};
    }
  }

  private RgbImage fromIndices(int tables, int entry, int pixels) throws IOException {
    int[] palette = new int[256];
    boolean grey = true;
    for (int i = 0; i < colours; i++) {
      int at = tables + entry * i;
      if (at + 3 > in.capacity()) {
        grey = false;
        break;
      }
      int blue = in.get(at) & 0xff;
      int green = in.get(at + 1) & 0xff;
      int red = in.get(at + 2) & 0xff;
      int level = colours == 2 ? 255 * i : i;
      grey &= level == blue && level == green && level == red;
      if (i < 256) {
        palette[i] = red << 16 | green << 8 | blue;
      }
    }
    if (grey && colours != 2) {
      Arrays.setAll(palette, i -> 0x10101 * i); // Pillow drops the palette
    }
    boolean packed = compression == RUNS_OF_8_BITS || compression == RUNS_OF_4_BITS;
    byte[] indices = packed ? runs(pixels) : rows(pixels);
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    for (int y = 0; y < height; y++) {
      int from = (topDown ? y : height - 1 - y) * width;
      for (int x = 0; x < width; x++) {
        int colour = palette[indices[from + x] & 0xff];
        int to = 3 * (y * width + x);
        rgb[to] = (byte) (colour >> 16);
        rgb[to + 1] = (byte) (colour >> 8);
        rgb[to + 2] = (byte) colour;
      }
    }
    return new RgbImage(width, height, rgb, grey ? colours == 2 ? "1" : "L" : "P");
  }

  /** Bytes from one row to the next. */
  private long stride() {
    return ((long) width * bits + 31) / 32 * 4;
  }

  private void requireRows(int pixels) throws IOException {
    // The last row needs no padding.
    if (pixels + stride() * (height - 1) + ((long) width * bits + 7) / 8 > in.capacity()) {
      throw cutOff();
    }
  }

  private byte[] rows(int pixels) throws IOException {
    requireRows(pixels);
    byte[] indices = new byte[width * height];
    int perByte = 8 / bits;
    for (int y = 0; y < height; y++) {
      int row = pixels + (int) (y * stride());
      for (int x = 0; x < width; x++) {
        int shift = 8 - bits * (x % perByte + 1);
        indices[y * width + x] =
            (byte) ((in.get(row + x / perByte) & 0xff) >> shift & ((1 << bits) - 1));
      }
    }
    return indices;
  }

  /** Run lengths, exactly as Pillow unpacks them, odd counts of 4-bit pixels included. */
  private byte[] runs(int pixels) throws IOException {
    boolean nibbles = compression == RUNS_OF_4_BITS;
    byte[] out = new byte[width * height];
    int at = pixels;
    long filled = 0;
    int x = 0;
    while (filled < out.length && at + 1 < in.capacity()) {
      int count = in.get(at++) & 0xff;
      int value = in.get(at++) & 0xff;
      if (count > 0) {
        count = Math.clamp(width - x, 0, count);
        for (int i = 0; i < count; i++) {
          filled = put(out, filled, !nibbles ? value : i % 2 == 0 ? value >> 4 : value & 15);
        }
        x += count;
      } else if (value == 0) {
        filled = (filled + width - 1) / width * width;
        x = 0;
      } else if (value == 1) {
        break;
      } else if (value == 2) {
        if (at + 1 >= in.capacity()) {
          break;
        }
        filled += (in.get(at) & 0xff) + (long) (in.get(at + 1) & 0xff) * width;
        at += 2;
        x = (int) (filled % width);
      } else {
        int bytes = nibbles ? value / 2 : value;
        if (at + bytes > in.capacity()) {
          break;
        }
        for (int i = 0; i < bytes; i++) {
          int held = in.get(at++) & 0xff;
          filled =
              nibbles ? put(out, put(out, filled, held >> 4), held & 15) : put(out, filled, held);
        }
        x += value;
        at += at % 2;
      }
    }
    if (filled < out.length) {
      throw new IOException("the BMP has fewer pixels than its size says");
    }
    return out;
  }

  private static long put(byte[] out, long at, int value) {
    if (at < out.length) {
      out[(int) at] = (byte) value;
    }
    return at + 1;
  }

  private RgbImage fromShorts(int pixels) throws IOException {
    requireRows(pixels);
    int greenBits = masks[1] == 0x7e0 ? 6 : 5;
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    for (int y = 0; y < height; y++) {
      int row = pixels + (int) ((topDown ? y : height - 1 - y) * stride());
      for (int x = 0; x < width; x++) {
        int value = Short.toUnsignedInt(in.getShort(row + 2 * x));
        int to = 3 * (y * width + x);
        rgb[to] = (byte) ((value >> (5 + greenBits) & 31) * 255 / 31);
        rgb[to + 1] = (byte) ((value >> 5 & ((1 << greenBits) - 1)) * 255 / ((1 << greenBits) - 1));
        rgb[to + 2] = (byte) ((value & 31) * 255 / 31);
      }
    }
    return new RgbImage(width, height, rgb);
  }

  private RgbImage fromBytes(int pixels) throws IOException {
    requireRows(pixels);
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    for (int y = 0; y < height; y++) {
      int row = pixels + (int) ((topDown ? y : height - 1 - y) * stride());
      for (int x = 0; x < width; x++) {
        for (int c = 0; c < 3; c++) {
          int place = Integer.numberOfTrailingZeros(masks[c]) / 8;
          rgb[3 * (y * width + x) + c] = in.get(row + bits / 8 * x + place);
        }
      }
    }
    return new RgbImage(width, height, rgb, alpha ? "RGBA" : "RGB");
  }

  private static IOException cutOff() {
    return new IOException("the BMP is cut off");
  }
}
