package org.fishermerge.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.zip.CRC32;
import java.util.zip.InflaterInputStream;
import org.jspecify.annotations.Nullable;

/** PNG, of an animated one the default picture. */
final class PngPicture {
  private static final int SIGNATURE = 8;
  private static final int IHDR = 0x49484452;
  private static final int PLTE = 0x504c5445;
  private static final int IDAT = 0x49444154;
  private static final int IEND = 0x49454e44;
  private static final int EXIF = 0x65584966;
  private static final int TEXT = 0x74455874;
  private static final int COMPRESSED_TEXT = 0x7a545874;
  private static final int INTERNATIONAL_TEXT = 0x69545874;

  /** Pillow reads no text that is longer when decompressed. */
  private static final int MAX_TEXT = 1 << 20;

  private final ByteArrayOutputStream pixels = new ByteArrayOutputStream();
  private int bitDepth = -1;
  private int colorType;
  private byte @Nullable [] exif;
  private byte @Nullable [] rawProfile;
  private byte @Nullable [] xmp;

  private PngPicture() {}

  static RgbImage decode(byte[] encoded) throws IOException {
    PngPicture png = new PngPicture();
    png.walk(encoded);
    BufferedImage image = PictureDecoder.image("png", "PNG", png.pixels.toByteArray());
    return Orientation.apply(
        png.toRgb(image), png.exif == null ? png.rawProfile : png.exif, png.xmp);
  }

  /**
   * Walks the chunks: the size before anything is allocated, and every checksum. Keeps those that
   * hold pixels.
   */
  private void walk(byte[] png) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(png).position(SIGNATURE);
    pixels.write(png, 0, SIGNATURE);
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
      if (bitDepth < 0) {
        if (type != IHDR || length != 13) {
          throw new IOException("the PNG does not begin with its header");
        }
        PictureDecoder.checkSize(
            Integer.toUnsignedLong(in.getInt(start + 8)),
            Integer.toUnsignedLong(in.getInt(start + 12)));
        bitDepth = png[start + 16];
        colorType = png[start + 17];
      }
      if (type == IHDR || type == PLTE || type == IDAT || type == IEND) {
        pixels.write(png, start, 12 + (int) length);
      }
      if (type == IEND) {
        return;
      }
      orientation(type, Arrays.copyOfRange(png, start + 8, start + 8 + (int) length));
      in.position(start + 12 + (int) length);
    }
    throw new IOException("the PNG is truncated");
  }

  /** Keeps a chunk that may say how the picture is turned. */
  private void orientation(int type, byte[] data) {
    if (type == EXIF) {
      exif = data;
      return;
    }
    if (type != TEXT && type != COMPRESSED_TEXT && type != INTERNATIONAL_TEXT) {
      return;
    }
    String key = zeroTerminated(data, 0);
    int at = key.length() + 1;
    if (!key.equals("Raw profile type exif") && !key.equals("XML:com.adobe.xmp")) {
      return;
    }
    boolean compressed = type == COMPRESSED_TEXT;
    if (type == COMPRESSED_TEXT) {
      at++; // the method, of which there is one
    } else if (type == INTERNATIONAL_TEXT) {
      compressed = at < data.length && data[at] != 0;
      at += 2;
      at += zeroTerminated(data, at).length() + 1; // language
      at += zeroTerminated(data, at).length() + 1; // translated keyword
    }
    byte[] text = at >= data.length ? new byte[0] : Arrays.copyOfRange(data, at, data.length);
    byte[] plain = compressed ? inflated(text) : text;
    if (key.equals("XML:com.adobe.xmp")) {
      xmp = plain;
    } else {
      rawProfile = fromHex(new String(plain, ISO_8859_1));
    }
  }

  private static String zeroTerminated(byte[] data, int from) {
    int end = Math.min(from, data.length);
    while (end < data.length && data[end] != 0) {
      end++;
    }
    return new String(data, Math.min(from, end), end - Math.min(from, end), ISO_8859_1);
  }

  private static byte[] inflated(byte[] data) {
    try (var in = new InflaterInputStream(new ByteArrayInputStream(data))) {
      byte[] text = in.readNBytes(MAX_TEXT + 1);
      return text.length > MAX_TEXT ? new byte[0] : text;
    } catch (IOException e) {
      return new byte[0];
    }
  }

  /** ImageMagick's form: an empty line, a name, a length, and lines of hexadecimal digits. */
  private static byte @Nullable [] fromHex(String text) {
    String[] lines = text.split("\n", 4);
    String digits = lines.length < 4 ? "" : lines[3].replaceAll("\\s", "");
    try {
      return HexFormat.of().parseHex(digits);
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  private RgbImage toRgb(BufferedImage image) {
    int width = image.getWidth();
    int height = image.getHeight();
    Raster raster = image.getRaster();
    int bands = raster.getNumBands();
    boolean grey = colorType == 0 || colorType == 4;
    int[] levels = levels(image);
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    int[] row = new int[width * bands];
    for (int y = 0; y < height; y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int to = 3 * (y * width + x);
        int from = x * bands;
        if (colorType == 3) {
          int colour = levels[row[from]];
          rgb[to] = (byte) (colour >> 16);
          rgb[to + 1] = (byte) (colour >> 8);
          rgb[to + 2] = (byte) colour;
        } else {
          rgb[to] = (byte) levels[row[from]];
          rgb[to + 1] = (byte) levels[row[grey ? from : from + 1]];
          rgb[to + 2] = (byte) levels[row[grey ? from : from + 2]];
        }
      }
    }
    return new RgbImage(width, height, rgb, mode());
  }

  /** What each sample value means in 8 bits; for a palette, its colours. */
  private int[] levels(BufferedImage image) {
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

  private String mode() {
    return switch (colorType) {
      case 0 -> bitDepth == 1 ? "1" : bitDepth == 16 ? "I;16" : "L";
      case 2 -> "RGB";
      case 3 -> "P";
      case 4 -> bitDepth == 16 ? "RGBA" : "LA";
      default -> "RGBA";
    };
  }
}
