package org.fishermerge.data;

import java.util.Arrays;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Whether the compressed bytes of a strip or tile give as many as they must. The JDK's reader
 * leaves black what is missing; libtiff, and so Pillow, refuses.
 */
final class TiffLengths {
  static final int UNCOMPRESSED = 1;
  static final int LZW = 5;
  static final int JPEG = 7;
  static final int DEFLATE = 8;
  static final int PACK_BITS = 32_773;
  static final int OLD_DEFLATE = 32_946;

  private static final int CLEAR = 256;
  private static final int END = 257;

  private TiffLengths() {}

  /**
   * Whether there are enough bytes.
   *
   * @param from first byte of the strip in the file
   * @param count bytes of the strip
   * @param needed bytes that it has when unpacked
   */
  static boolean enough(byte[] file, int from, int count, int compression, long needed) {
    return switch (compression) {
      case UNCOMPRESSED -> count >= needed;
      case LZW -> lzw(file, from, count, needed);
      case DEFLATE, OLD_DEFLATE -> deflate(file, from, count, needed);
      case PACK_BITS -> packBits(file, from, count, needed);
      case JPEG -> endsAsJpeg(file, from, count);
      default -> true; // the JDK's CCITT decoder runs into the end
    };
  }

  private static boolean deflate(byte[] file, int from, int count, long needed) {
    Inflater inflater = new Inflater();
    try {
      inflater.setInput(file, from, count);
      byte[] buffer = new byte[1 << 14];
      long length = 0;
      while (length < needed) {
        int got = inflater.inflate(buffer);
        if (got == 0) {
          return false;
        }
        length += got;
      }
      return true;
    } catch (DataFormatException e) {
      return false;
    } finally {
      inflater.end();
    }
  }

  private static boolean packBits(byte[] file, int from, int count, long needed) {
    long length = 0;
    int at = from;
    int end = from + count;
    while (length < needed && at < end) {
      int control = file[at++];
      if (control >= 0) {
        if (control + 1 > end - at) {
          return false;
        }
        length += control + 1;
        at += control + 1;
      } else if (control != -128) {
        if (at == end) {
          return false;
        }
        length += 1 - control;
        at++;
      }
    }
    return length >= needed;
  }

  /** Follows the codes, keeping only how long each string is. */
  private static boolean lzw(byte[] file, int from, int count, long needed) {
    int[] lengths = new int[4097];
    Arrays.fill(lengths, 0, CLEAR, 1);
    long length = 0;
    long end = 8L * count;
    int next = END + 1;
    int width = 9;
    int previous = -1;
    for (long bit = 0; length < needed && bit + width <= end; ) {
      int code = bits(file, from, bit, width);
      bit += width;
      if (code == END) {
        break;
      }
      if (code == CLEAR) {
        next = END + 1;
        width = 9;
        previous = -1;
        continue;
      }
      if (previous >= 0 && next < 4096) {
        lengths[next++] = lengths[previous] + 1;
      }
      if (code >= next) {
        return false;
      }
      length += lengths[code];
      previous = code;
      width = next >= 2047 ? 12 : next >= 1023 ? 11 : next >= 511 ? 10 : 9;
    }
    return length >= needed;
  }

  private static int bits(byte[] file, int from, long bit, int width) {
    int value = 0;
    for (int i = 0; i < width; i++) {
      long place = bit + i;
      value = value << 1 | (file[from + (int) (place >> 3)] >> (7 - (place & 7)) & 1);
    }
    return value;
  }

  private static boolean endsAsJpeg(byte[] file, int from, int count) {
    for (int i = from + count - 2; i >= from; i--) {
      if (file[i] == (byte) 0xff && file[i + 1] == (byte) 0xd9) {
        return true;
      }
    }
    return false;
  }
}
