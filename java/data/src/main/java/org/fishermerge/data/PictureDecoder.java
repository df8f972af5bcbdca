package org.fishermerge.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.awt.image.BufferedImage;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Map;
import java.util.TreeMap;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Encoded pictures to RGB, as a FusionBench user's pass through the {@code datasets} library and
 * transformers: decoded by Pillow, turned as their EXIF or XMP orientation says, and converted by
 * {@code convert("RGB")}: alpha and transparency are dropped, not blended; colour profiles and
 * gamma are ignored; of 16-bit colour the high byte is kept, and 16-bit grey is clipped at 255. Of
 * an animation or a file of several pages it is the first picture.
 *
 * <p>PNG, JPEG and TIFF are decoded by the JDK, WebP by libwebp. Their structure is read here
 * first: sizes before memory is taken, and only what the picture consists of is handed on.
 */
final class PictureDecoder {
  /** Pillow warns of a decompression bomb from here on. */
  static final long MAX_PIXELS = 89_478_485;

  /** Decodes a format. Broken bytes may end in any unchecked exception. */
  private interface Decoder {
    RgbImage decode(byte[] encoded) throws IOException;
  }

  private enum Format {
    JPEG("\u00ff\u00d8\u00ff", JpegPicture::decode),
    PNG("\u0089PNG\r\n\u001a\n", PngPicture::decode),
    GIF("GIF8[79]a", GifPicture::decode),
    BMP("BM", BmpPicture::decode),
    TIFF("(?:II[*+]\0|MM\0[*+]|MM[*]\0|II\0[*])", TiffPicture::decode),
    WebP("RIFF....WEBP", WebpPicture::decode);

    /** A regular expression for the first bytes, as ISO 8859-1. */
    final String head;

    final Decoder decoder;

    Format(String head, Decoder decoder) {
      this.head = "(?s)" + head + ".*";
      this.decoder = decoder;
    }
  }

  /** What people may have among their pictures, by how it begins. */
  private static final Map<String, String> NOT_READ =
      new TreeMap<>(
          Map.of(
              "....ftypavi[fs].*", "AVIF",
              "....ftyp(?:hei|hev|mif).*", "HEIC",
              "(?:\0\0\0\fjP  |\u00ffO\u00ffQ).*", "JPEG 2000",
              "\0\0[\1\2]\0.*", "an icon file (ICO)",
              "P[1-6][ \\t\\r\\n].*", "PNM (PPM, PGM or PBM)",
              "8BPS.*", "a Photoshop document",
              "\\s*<(?:\\?xml|svg).*", "XML or SVG",
              "%PDF.*", "PDF"));

  private PictureDecoder() {}

  /**
   * Decodes a picture.
   *
   * @throws IOException if the bytes are no complete picture of a known format and at most {@link
   *     #MAX_PIXELS} pixels; the message says why, for the caller to add where
   */
  static RgbImage decode(byte[] encoded) throws IOException {
    String head = new String(encoded, 0, Math.min(encoded.length, 16), ISO_8859_1);
    for (Format format : Format.values()) {
      if (head.matches(format.head)) {
        try {
          return format.decoder.decode(encoded);
        } catch (RuntimeException e) {
          // Readers report some broken files by whatever they happen to run into.
          throw new IOException("the %s picture is damaged or cut off".formatted(format), e);
        }
      }
    }
    throw new IOException(
        "not a PNG, JPEG, WebP, GIF, BMP or TIFF picture but " + describe(encoded, head));
  }

  private static String describe(byte[] bytes, String head) {
    if (bytes.length == 0) {
      return "no bytes at all";
    }
    for (Map.Entry<String, String> format : NOT_READ.entrySet()) {
      if (head.matches("(?s)" + format.getKey())) {
        return format.getValue() + "; convert it to PNG";
      }
    }
    return bytes.length
        + " bytes that begin with "
        + HexFormat.ofDelimiter(" ").formatHex(bytes, 0, Math.min(bytes.length, 8));
  }

  /** Refuses a size before memory is taken for it. */
  static void checkSize(long width, long height) throws IOException {
    if (width <= 0 || height <= 0) {
      throw new IOException("the picture says it is " + width + "x" + height + " pixels");
    }
    if (width > MAX_PIXELS || height > MAX_PIXELS || width * height > MAX_PIXELS) {
      throw new IOException(
          "the picture is %d x %d pixels, more than the %d that are accepted"
              .formatted(width, height, MAX_PIXELS));
    }
  }

  /**
   * The first picture of a file by the JDK's reader, whatever other plug-ins an embedding program
   * has on its class path.
   *
   * @param format the reader's name of the format
   * @param name the format, for messages
   */
  static BufferedImage image(String format, String name, byte[] encoded) throws IOException {
    return read(format, name, encoded, reader -> reader.read(0));
  }

  /** As {@link #image}, without conversion of colours. */
  static Raster raster(String format, String name, byte[] encoded) throws IOException {
    return read(format, name, encoded, reader -> reader.readRaster(0, null));
  }

  private interface Reading<T> {
    T from(ImageReader reader) throws IOException;
  }

  private static <T> T read(String format, String name, byte[] encoded, Reading<T> reading)
      throws IOException {
    ImageReader reader = jdkReader(format);
    try (var input = new MemoryCacheImageInputStream(new ByteArrayInputStream(encoded))) {
      reader.setInput(input, true, true);
      return reading.from(reader);
    } catch (IOException e) {
      String why = e.getMessage() == null ? "" : ": " + e.getMessage();
      throw new IOException("the %s picture is damaged or cut off%s".formatted(name, why), e);
    } finally {
      reader.dispose();
    }
  }

  private static ImageReader jdkReader(String format) {
    for (Iterator<ImageReader> i = ImageIO.getImageReadersByFormatName(format); i.hasNext(); ) {
      ImageReader reader = i.next();
      if (reader.getClass().getModule() == ImageIO.class.getModule()) {
        return reader;
      }
    }
    throw new IllegalStateException("this JDK has no " + format + " reader (module java.desktop)");
  }
}
