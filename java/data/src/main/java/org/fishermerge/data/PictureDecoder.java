package org.fishermerge.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.zip.CRC32;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.fishermerge.checkpoint.Reasons;

/**
 * PNG and JPEG bytes to RGB, as Pillow's {@code Image.open(...).convert("RGB")} has it: alpha and
 * transparency are dropped, not blended; colour profiles and gamma are ignored; of 16-bit colour
 * the high byte is kept, and 16-bit grey is clipped at 255.
 *
 * <p>Decoding is the JDK's own (its libjpeg gives the same bits as Pillow's on baseline,
 * progressive and grey pictures, so nothing is gained from another decoder). The file structure is
 * read here first: sizes before memory is taken, checksums, and the markers by which the JDK and
 * libjpeg would disagree about a JPEG's colours.
 */
final class PictureDecoder {
  /** Pillow warns of a decompression bomb from here on. */
  static final long MAX_PIXELS = 89_478_485;

  private static final byte[] PNG_SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

  private PictureDecoder() {}

  /**
   * @throws IOException if the bytes are no complete PNG or JPEG picture of at most {@link
   *     #MAX_PIXELS} pixels; the message says why, for the caller to add where
   */
  static RgbImage decode(byte[] encoded) throws IOException {
    try {
      if (startsWith(encoded, PNG_SIGNATURE)) {
        PngHeader header = PngHeader.read(encoded);
        return toRgb(read("png", encoded), header.bitDepth, header.colorType);
      }
      if (encoded.length > 2 && marker(encoded, 0) == 0xffd8) {
        BufferedImage image = read("jpeg", JpegHeader.withPlainColorMarkers(encoded));
        return toRgb(image, 8, image.getRaster().getNumBands() == 1 ? 0 : 2);
      }
    } catch (IOException e) {
      throw e;
    } catch (RuntimeException e) {
      // The JDK's readers report some broken files by whatever they happen to run into.
      throw new IOException("the picture is damaged: " + Reasons.of(e), e);
    }
    throw new IOException("not a PNG or JPEG picture but " + describe(encoded));
  }

  private static RgbImage toRgb(BufferedImage image, int bitDepth, int colorType) {
    int width = image.getWidth();
    int height = image.getHeight();
    Raster raster = image.getRaster();
    int bands = raster.getNumBands();
    boolean grey = colorType == 0 || colorType == 4;
    int[] levels = levels(image, bitDepth, colorType);
    byte[] pixels = new byte[Math.toIntExact(3L * width * height)];
    int[] row = new int[width * bands];
    for (int y = 0; y < height; y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int to = 3 * (y * width + x);
        int from = x * bands;
        if (colorType == 3) {
          int rgb = levels[row[from]];
          pixels[to] = (byte) (rgb >> 16);
          pixels[to + 1] = (byte) (rgb >> 8);
          pixels[to + 2] = (byte) rgb;
        } else {
          pixels[to] = (byte) levels[row[from]];
          pixels[to + 1] = (byte) levels[row[grey ? from : from + 1]];
          pixels[to + 2] = (byte) levels[row[grey ? from : from + 2]];
        }
      }
    }
    return new RgbImage(width, height, pixels);
  }

  /** What each sample value means in 8 bits; for a palette, its colours. */
  private static int[] levels(BufferedImage image, int bitDepth, int colorType) {
    int[] levels = new int[1 << bitDepth];
    if (colorType == 3) {
      IndexColorModel palette = (IndexColorModel) image.getColorModel();
      for (int i = 0; i < Math.min(levels.length, palette.getMapSize()); i++) {
        levels[i] = palette.getRGB(i) & 0xffffff;
      }
      return levels;
    }
    for (int i = 0; i < levels.length; i++) {
      if (bitDepth == 16) {
        levels[i] = colorType == 0 ? Math.min(i, 255) : i >> 8;
      } else {
        levels[i] = i * 255 / (levels.length - 1);
      }
    }
    return levels;
  }

  private static BufferedImage read(String format, byte[] encoded) throws IOException {
    ImageReader reader = jdkReader(format);
    try (var input = new MemoryCacheImageInputStream(new ByteArrayInputStream(encoded))) {
      reader.setInput(input, true, true);
      return reader.read(0);
    } finally {
      reader.dispose();
    }
  }

  /** The JDK's reader, whatever other plug-ins an embedding program has on its class path. */
  private static ImageReader jdkReader(String format) {
    for (Iterator<ImageReader> i = ImageIO.getImageReadersByFormatName(format); i.hasNext(); ) {
      ImageReader reader = i.next();
      if (reader.getClass().getModule() == ImageIO.class.getModule()) {
        return reader;
      }
    }
    throw new IllegalStateException("this JDK has no " + format + " reader (module java.desktop)");
  }

  private static void checkSize(long width, long height) throws IOException {
    if (width <= 0 || height <= 0) {
      throw new IOException("the picture says it is " + width + "x" + height + " pixels");
    }
    if (width > MAX_PIXELS || height > MAX_PIXELS || width * height > MAX_PIXELS) {
      throw new IOException(
          "the picture is %d x %d pixels, more than the %d that are accepted"
              .formatted(width, height, MAX_PIXELS));
    }
  }

  private static boolean startsWith(byte[] bytes, byte[] prefix) {
    return bytes.length >= prefix.length
        && ByteBuffer.wrap(bytes, 0, prefix.length).equals(ByteBuffer.wrap(prefix));
  }

  private static int marker(byte[] bytes, int at) {
    return (bytes[at] & 0xff) << 8 | (bytes[at + 1] & 0xff);
  }

  private static String describe(byte[] bytes) {
    if (bytes.length == 0) {
      return "no bytes at all";
    }
    String head = new String(bytes, 0, Math.min(bytes.length, 12), ISO_8859_1);
    if (head.startsWith("RIFF") && head.endsWith("WEBP")) {
      return "WebP; convert it to PNG";
    }
    if (head.startsWith("GIF8")) {
      return "GIF; convert it to PNG";
    }
    if (head.startsWith("BM")) {
      return "BMP; convert it to PNG";
    }
    if (head.startsWith("II*\0") || head.startsWith("MM\0*")) {
      return "TIFF; convert it to PNG";
    }
    return bytes.length
        + " bytes that begin with "
        + HexFormat.ofDelimiter(" ").formatHex(bytes, 0, Math.min(bytes.length, 8));
  }

  /** Walks the chunks: the size before anything is allocated, and every checksum. */
  private record PngHeader(int bitDepth, int colorType) {
    private static final int IHDR = 0x49484452;
    private static final int IEND = 0x49454e44;

    static PngHeader read(byte[] png) throws IOException {
      ByteBuffer in = ByteBuffer.wrap(png).position(PNG_SIGNATURE.length);
      PngHeader header = null;
      while (in.remaining() >= 12) {
        int start = in.position();
        long length = Integer.toUnsignedLong(in.getInt());
        int type = in.getInt();
        if (length + 4 > in.remaining()) {
          break;
        }
        CRC32 crc = new CRC32();
        crc.update(png, start + 4, (int) length + 4);
        if (in.getInt(start + 8 + (int) length) != (int) crc.getValue()) {
          throw new IOException("the PNG is damaged: checksum of the chunk at byte " + start);
        }
        if (header == null) {
          if (type != IHDR || length != 13) {
            throw new IOException("the PNG does not begin with its header");
          }
          checkSize(
              Integer.toUnsignedLong(in.getInt(start + 8)),
              Integer.toUnsignedLong(in.getInt(start + 12)));
          header = new PngHeader(png[start + 16], png[start + 17]);
        }
        if (type == IEND) {
          return header;
        }
        in.position(start + 12 + (int) length);
      }
      throw new IOException("the PNG is truncated");
    }
  }

  /** The marker segments of a JPEG up to its first scan. */
  private static final class JpegHeader {
    private static final int START_OF_SCAN = 0xffda;
    private static final int END_OF_IMAGE = 0xffd9;
    private static final int JFIF = 0xffe0;
    private static final int ADOBE = 0xffee;

    private JpegHeader() {}

    /**
     * The same JPEG with its application segments replaced by the one that states the colours as
     * libjpeg infers them. Left as they are, the JDK would guess otherwise for files without a JFIF
     * segment, and would convert through an embedded colour profile, which Pillow does not.
     */
    static byte[] withPlainColorMarkers(byte[] jpeg) throws IOException {
      ByteArrayOutputStream kept = new ByteArrayOutputStream(jpeg.length);
      boolean jfif = false;
      int adobeTransform = -1;
      int components = 0;
      String ids = "";
      int at = 2;
      while (true) {
        while (at + 1 < jpeg.length && jpeg[at] == (byte) 0xff && jpeg[at + 1] == (byte) 0xff) {
          at++; // fill bytes
        }
        if (at + 4 > jpeg.length) {
          throw new IOException("the JPEG is truncated before its first scan");
        }
        int marker = marker(jpeg, at);
        int length = marker(jpeg, at + 2);
        if (marker < 0xffc0 || length < 2 || at + 2 + length > jpeg.length) {
          throw new IOException("the JPEG is damaged: no marker segment at byte " + at);
        }
        if (marker == START_OF_SCAN) {
          break;
        }
        int body = at + 4;
        if (isStartOfFrame(marker)) {
          if (length < 8) {
            throw new IOException("the JPEG is damaged: frame header of " + length + " bytes");
          }
          if (jpeg[body] != 8) {
            throw new IOException("JPEG with " + jpeg[body] + " bits per sample; 8 are supported");
          }
          checkSize(marker(jpeg, body + 3), marker(jpeg, body + 1));
          components = jpeg[body + 5];
          if (length < 8 + 3 * components) {
            throw new IOException("the JPEG is damaged: frame header of " + length + " bytes");
          }
          StringBuilder names = new StringBuilder();
          for (int c = 0; c < components; c++) {
            names.append((char) (jpeg[body + 6 + 3 * c] & 0xff));
          }
          ids = names.toString();
        }
        if (marker == JFIF && startsWith(jpeg, body, length - 2, "JFIF\0")) {
          jfif = true;
        } else if (marker == ADOBE && length >= 14 && startsWith(jpeg, body, length, "Adobe")) {
          adobeTransform = jpeg[body + 11];
        }
        boolean application = marker >= 0xffe0 && marker <= 0xffef;
        boolean comment = marker == 0xfffe;
        if (!application && !comment) {
          kept.write(jpeg, at, 2 + length);
        }
        at += 2 + length;
      }
      requireEnd(jpeg, at);
      if (components != 1 && components != 3) {
        throw new IOException(
            components == 4
                ? "CMYK JPEG; convert it to RGB"
                : "JPEG with " + components + " colour components");
      }
      ByteArrayOutputStream out = new ByteArrayOutputStream(jpeg.length + 32);
      out.write(0xff);
      out.write(0xd8);
      if (components == 3 && isRgb(jfif, adobeTransform, ids)) {
        out.writeBytes(segment(ADOBE, "Adobe\0\144\0\0\0\0\0"));
      } else {
        out.writeBytes(segment(JFIF, "JFIF\0\1\1\0\0\1\0\1\0\0"));
      }
      kept.writeTo(out);
      out.write(jpeg, at, jpeg.length - at);
      return out.toByteArray();
    }

    /** libjpeg would fill up what is missing with grey; Pillow refuses, and so do we. */
    private static void requireEnd(byte[] jpeg, int scan) throws IOException {
      for (int i = jpeg.length - 2; i > scan; i--) {
        if (marker(jpeg, i) == END_OF_IMAGE) {
          return;
        }
      }
      throw new IOException("the JPEG is truncated");
    }

    /** libjpeg's rule for three components: JFIF, then Adobe's word, then the components' names. */
    private static boolean isRgb(boolean jfif, int adobeTransform, String ids) {
      if (jfif) {
        return false;
      }
      return adobeTransform >= 0 ? adobeTransform == 0 : ids.equals("RGB");
    }

    private static boolean isStartOfFrame(int marker) {
      return marker >= 0xffc0
          && marker <= 0xffcf
          && marker != 0xffc4
          && marker != 0xffc8
          && marker != 0xffcc;
    }

    private static boolean startsWith(byte[] bytes, int at, int available, String prefix) {
      return available >= prefix.length()
          && new String(bytes, at, prefix.length(), ISO_8859_1).equals(prefix);
    }

    private static byte[] segment(int marker, String body) {
      byte[] bytes = body.getBytes(ISO_8859_1);
      return ByteBuffer.allocate(4 + bytes.length)
          .putShort((short) marker)
          .putShort((short) (2 + bytes.length))
          .put(bytes)
          .array();
    }
  }
}
