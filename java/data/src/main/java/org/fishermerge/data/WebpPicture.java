package org.fishermerge.data;

import com.luciad.imageio.webp.WebPImageReaderSpi;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.jspecify.annotations.Nullable;

/**
 * WebP by libwebp, whose bits are Pillow's. Of an animation it is the first frame, on a black
 * canvas. The container is read here: sizes, the frame, and what says how the picture is turned.
 */
final class WebpPicture {
  private static final int VP8X = fourCc("VP8X");
  private static final int VP8 = fourCc("VP8 ");
  private static final int VP8L = fourCc("VP8L");
  private static final int ALPHA = fourCc("ALPH");
  private static final int FRAME = fourCc("ANMF");
  private static final int EXIF = fourCc("EXIF");
  private static final int XMP = fourCc("XMP ");
  private static final int HAS_EXIF = 8;
  private static final int HAS_XMP = 4;
  private static final int HAS_ALPHA = 16;
  private static final int ANIMATED = 2;

  private final ByteBuffer in;
  private int flags;
  private int width;
  private int height;
  private int left;
  private int top;
  private boolean alpha;
  private final ByteArrayOutputStream frame = new ByteArrayOutputStream();
  private int frameWidth;
  private int frameHeight;
  private byte @Nullable [] exif;
  private byte @Nullable [] xmp;

  private WebpPicture(byte[] webp) {
    in = ByteBuffer.wrap(webp).order(ByteOrder.LITTLE_ENDIAN);
  }

  static RgbImage decode(byte[] encoded) throws IOException {
    WebpPicture webp = new WebpPicture(encoded);
    long end = 8 + Integer.toUnsignedLong(webp.in.getInt(4));
    if (end > encoded.length) {
      throw cutOff();
    }
    webp.readChunks(12, (int) end);
    return Orientation.apply(webp.toRgb(), webp.exif, webp.xmp);
  }

  private void readChunks(int from, int end) throws IOException {
    int at = from;
    while (at + 8 <= end) {
      int type = in.getInt(at);
      long size = Integer.toUnsignedLong(in.getInt(at + 4));
      long next = at + 8 + size + size % 2;
      if (at + 8 + size > end) {
        throw cutOff();
      }
      int body = at + 8;
      if (type == VP8X) {
        flags = in.get(body);
        alpha = (flags & HAS_ALPHA) != 0;
        width = 1 + u24(body + 4);
        height = 1 + u24(body + 7);
        PictureDecoder.checkSize(width, height);
      } else if (type == FRAME && (flags & ANIMATED) != 0) {
        if (frame.size() == 0) {
          left = 2 * u24(body);
          top = 2 * u24(body + 3);
          readChunks(body + 16, body + (int) size);
        }
      } else if ((type == VP8 || type == VP8L || type == ALPHA) && frameWidth == 0) {
        if (type != ALPHA) {
          readFrameSize(type, body);
        }
        frame.write(in.array(), at, (int) Math.min(next, end) - at);
      } else if (type == EXIF && (flags & HAS_EXIF) != 0 && exif == null) {
        exif = Arrays.copyOfRange(in.array(), body, body + (int) size);
      } else if (type == XMP && (flags & HAS_XMP) != 0 && xmp == null) {
        xmp = Arrays.copyOfRange(in.array(), body, body + (int) size);
      }
      at = (int) Math.min(next, end);
    }
  }

  private void readFrameSize(int type, int body) throws IOException {
    if (type == VP8) {
      frameWidth = in.getShort(body + 6) & 0x3fff;
      frameHeight = in.getShort(body + 8) & 0x3fff;
    } else {
      int packed = in.getInt(body + 1);
      frameWidth = 1 + (packed & 0x3fff);
      frameHeight = 1 + (packed >> 14 & 0x3fff);
      if (flags == 0) {
        alpha = (packed >> 28 & 1) != 0;
      }
    }
    PictureDecoder.checkSize(frameWidth, frameHeight);
  }

  private RgbImage toRgb() throws IOException {
    if (frameWidth == 0) {
      throw new IOException("the WebP holds no picture");
    }
    BufferedImage image = libwebp(still());
    if (width == 0) {
      width = frameWidth;
      height = frameHeight;
    }
    boolean still = (flags & ANIMATED) == 0;
    if (image.getWidth() != frameWidth
        || image.getHeight() != frameHeight
        || (still ? frameWidth != width : left + frameWidth > width)
        || (still ? frameHeight != height : top + frameHeight > height)) {
      throw new IOException("the WebP is damaged: its sizes contradict each other");
    }
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    int[] row = new int[frameWidth];
    for (int y = 0; y < frameHeight; y++) {
      image.getRaster().getDataElements(0, y, frameWidth, 1, row);
      for (int x = 0; x < frameWidth; x++) {
        int to = 3 * ((top + y) * width + left + x);
        rgb[to] = (byte) (row[x] >> 16);
        rgb[to + 1] = (byte) (row[x] >> 8);
        rgb[to + 2] = (byte) row[x];
      }
    }
    return new RgbImage(width, height, rgb, alpha ? "RGBA" : "RGB");
  }

  /** The frame alone as a file. */
  private byte[] still() {
    boolean withAlpha =
        frame.size() > 4
            && ByteBuffer.wrap(frame.toByteArray()).order(ByteOrder.LITTLE_ENDIAN).getInt(0)
                == ALPHA;
    int head = 12 + (withAlpha ? 18 : 0);
    ByteBuffer out = ByteBuffer.allocate(head + frame.size()).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(fourCc("RIFF")).putInt(out.capacity() - 8).putInt(fourCc("WEBP"));
    if (withAlpha) {
      out.putInt(VP8X).putInt(10).putInt(HAS_ALPHA);
      putU24(out, frameWidth - 1);
      putU24(out, frameHeight - 1);
    }
    return out.put(frame.toByteArray()).array();
  }

  private static BufferedImage libwebp(byte[] webp) throws IOException {
    ImageReader reader;
    try {
      reader = Library.SPI.createReaderInstance(null);
    } catch (LinkageError e) {
      throw new IOException(
          "WebP pictures cannot be read on this machine: libwebp does not load", e);
    }
    try (var input = new MemoryCacheImageInputStream(new ByteArrayInputStream(webp))) {
      reader.setInput(input, true, true);
      return reader.read(0);
    } catch (LinkageError e) {
      throw new IOException(
          "WebP pictures cannot be read on this machine: libwebp does not load", e);
    } catch (OutOfMemoryError e) {
      if (e.getMessage() != null) {
        throw e;
      }
      // What the library throws, without a word, for one kind of damage.
      throw new IOException("the WebP is damaged", e);
    } catch (IOException e) {
      throw new IOException("the WebP is damaged or cut off", e);
    } finally {
      reader.dispose();
    }
  }

  /** Loaded with the first WebP picture. */
  private static final class Library {
    static final WebPImageReaderSpi SPI = new WebPImageReaderSpi();
  }

  private int u24(int at) {
    return Short.toUnsignedInt(in.getShort(at)) | (in.get(at + 2) & 0xff) << 16;
  }

  private static void putU24(ByteBuffer out, int value) {
    out.putShort((short) value).put((byte) (value >> 16));
  }

  private static int fourCc(String name) {
    return name.charAt(0) | name.charAt(1) << 8 | name.charAt(2) << 16 | name.charAt(3) << 24;
  }

  private static IOException cutOff() {
    return new IOException("the WebP is cut off");
  }
}
