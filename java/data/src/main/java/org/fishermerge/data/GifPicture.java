package org.fishermerge.data;

import java.io.IOException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The first picture of a GIF, on its canvas as Pillow lays it: what the picture does not cover has
 * the transparent colour, or colour 0. (The JDK's reader does not tell a picture that was cut off
 * from a whole one, and leaves the canvas to its caller.)
 */
final class GifPicture {
  private static final int MAX_CODES = 4096;

  private final byte[] gif;
  private int at;

  private GifPicture(byte[] gif) {
    this.gif = gif;
  }

  static RgbImage decode(byte[] encoded) throws IOException {
    return new GifPicture(encoded).toRgb();
  }

  private RgbImage toRgb() throws IOException {
    int width = u16(6);
    int height = u16(8);
    at = 13;
    int @Nullable [] palette = (gif[10] & 0x80) == 0 ? null : palette(gif[10]);
    int transparent = readExtensions();
    int left = u16(at);
    int top = u16(at + 2);
    int pictureWidth = u16(at + 4);
    int pictureHeight = u16(at + 6);
    int flags = gif[at + 8];
    at += 9;
    width = Math.max(width, left + pictureWidth);
    height = Math.max(height, top + pictureHeight);
    PictureDecoder.checkSize(width, height);
    PictureDecoder.checkSize(pictureWidth, pictureHeight);
    if ((flags & 0x80) != 0) {
      palette = palette((byte) flags);
    }
    byte[] canvas = new byte[width * height];
    Arrays.fill(canvas, (byte) Math.max(transparent, 0));
    byte[] indices = indices(pictureWidth * pictureHeight);
    for (int i = 0; i < pictureHeight; i++) {
      int y = top + ((flags & 0x40) == 0 ? i : interlaced(i, pictureHeight));
      System.arraycopy(indices, i * pictureWidth, canvas, y * width + left, pictureWidth);
    }
    byte[] rgb = new byte[Math.toIntExact(3L * canvas.length)];
    for (int i = 0; i < canvas.length; i++) {
      int index = canvas[i] & 0xff;
      int colour = palette == null ? 0x10101 * index : palette[index];
      rgb[3 * i] = (byte) (colour >> 16);
      rgb[3 * i + 1] = (byte) (colour >> 8);
      rgb[3 * i + 2] = (byte) colour;
    }
    return new RgbImage(width, height, rgb, palette == null ? "L" : "P");
  }

  /** Passes over what stands before the first picture and returns the transparent colour or -1. */
  private int readExtensions() throws IOException {
    int transparent = -1;
    while (true) {
      int introducer = gif[at++];
      if (introducer == ',') {
        return transparent;
      }
      if (introducer == ';') {
        throw new IOException("the GIF holds no picture");
      }
      if (introducer == '!') {
        boolean control = gif[at++] == (byte) 0xf9 && gif[at] >= 4;
        if (control && (gif[at + 1] & 1) != 0) {
          transparent = gif[at + 4] & 0xff;
        }
        while (gif[at] != 0) {
          at += 1 + (gif[at] & 0xff);
        }
        at++;
      }
    }
  }

  /** The colours that follow; null if they are levels of grey in order, which Pillow drops. */
  private int @Nullable [] palette(byte flags) {
    int[] colours = new int[256];
    boolean levels = true;
    for (int i = 0; i < 2 << (flags & 7); i++) {
      int red = gif[at++] & 0xff;
      int green = gif[at++] & 0xff;
      int blue = gif[at++] & 0xff;
      colours[i] = red << 16 | green << 8 | blue;
      levels &= colours[i] == 0x10101 * i;
    }
    return levels ? null : colours;
  }

  /** The row that comes at a place of the four passes. */
  private static int interlaced(int place, int height) {
    int first = 0;
    int step = 8;
    int left = place;
    while (true) {
      int rows = Math.max(0, (height - first + step - 1) / step);
      if (left < rows) {
        return first + left * step;
      }
      left -= rows;
      first = first == 0 ? 4 : first / 2;
      step = first * 2;
    }
  }

  private byte[] indices(int count) throws IOException {
    int bits = gif[at++];
    if (bits < 0 || bits > 8) {
      throw new IOException("the GIF is damaged: codes of " + bits + " bits");
    }
    byte[] out = new byte[count];
    int filled = 0;
    int clear = 1 << bits;
    int[] prefix = new int[MAX_CODES];
    byte[] last = new byte[MAX_CODES];
    byte[] string = new byte[MAX_CODES];
    int next = clear + 2;
    int size = bits + 1;
    int previous = -1;
    byte first = 0;
    while (filled < count) {
      int code = code(size);
      if (code < 0 || code == clear + 1) {
        throw new IOException("the GIF is cut off: it has fewer pixels than its size says");
      }
      if (code == clear) {
        next = clear + 2;
        size = bits + 1;
        previous = -1;
        continue;
      }
      int length = 0;
      int rest = code;
      if (previous < 0 ? code > clear : code > next) {
        throw new IOException("the GIF is damaged: a code that is not defined yet");
      }
      if (previous >= 0 && code == next) {
        string[length++] = first;
        rest = previous;
      }
      while (rest >= clear) {
        string[length++] = last[rest];
        rest = prefix[rest];
      }
      first = (byte) rest;
      string[length++] = first;
      if (previous >= 0 && next < MAX_CODES) {
        prefix[next] = previous;
        last[next] = first;
        if (next == (1 << size) - 1 && size < 12) {
          size++;
        }
        next++;
      }
      previous = code;
      while (length > 0 && filled < count) {
        out[filled++] = string[--length];
      }
    }
    return out;
  }

  private int held;
  private int heldBits;
  private int blockLeft;

  /** The next code, or -1 behind the last block. */
  private int code(int size) {
    while (heldBits < size) {
      if (blockLeft == 0) {
        blockLeft = gif[at++] & 0xff;
        if (blockLeft == 0) {
          return -1;
        }
      }
      held |= (gif[at++] & 0xff) << heldBits;
      heldBits += 8;
      blockLeft--;
    }
    int code = held & ((1 << size) - 1);
    held >>>= size;
    heldBits -= size;
    return code;
  }

  private int u16(int place) {
    return (gif[place] & 0xff) | (gif[place + 1] & 0xff) << 8;
  }
}
