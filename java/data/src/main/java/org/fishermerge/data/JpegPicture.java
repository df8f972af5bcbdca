package org.fishermerge.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.awt.image.BufferedImage;
import java.awt.image.Raster;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * JPEG: grey, YCbCr, RGB, CMYK and YCCK, baseline and progressive. The JDK's libjpeg gives the same
 * bits as Pillow's, save where only the rows of a colour are subsampled. The marker segments are
 * read here first, with the rules by which libjpeg tells the colours; the JDK has others.
 */
final class JpegPicture {
  private static final int START_OF_SCAN = 0xffda;
  private static final int END_OF_IMAGE = 0xffd9;
  private static final int JFIF = 0xffe0;
  private static final int EXIF_OR_XMP = 0xffe1;
  private static final int ADOBE = 0xffee;
  private static final String XMP = "http://ns.adobe.com/xap/1.0/\0";

  private final byte[] jpeg;
  private final ByteArrayOutputStream kept;
  private boolean jfif;
  private int adobeTransform = -1;
  private int components;
  private final int[] across = new int[4];
  private final int[] down = new int[4];
  private String ids = "";
  private byte @Nullable [] exif;
  private byte @Nullable [] xmp;

  private JpegPicture(byte[] jpeg) {
    this.jpeg = jpeg;
    this.kept = new ByteArrayOutputStream(jpeg.length);
  }

  static RgbImage decode(byte[] encoded) throws IOException {
    JpegPicture jpeg = new JpegPicture(encoded);
    byte[] plain = jpeg.withPlainColorMarkers();
    return Orientation.apply(jpeg.toRgb(plain), jpeg.exif, jpeg.xmp);
  }

  /**
   * The same JPEG with its application segments replaced by the one that states the colours as
   * libjpeg infers them. Left as they are, the JDK would guess otherwise for files without a JFIF
   * segment, and would convert through an embedded colour profile, which Pillow does not.
   */
  private byte[] withPlainColorMarkers() throws IOException {
    int scan = readSegments();
    requireEnd(scan);
    if (components != 1 && components != 3 && components != 4) {
      throw new IOException("JPEG with " + components + " colour components");
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream(jpeg.length + 32);
    out.write(0xff);
    out.write(0xd8);
    if (components == 3 && isRgb()) {
      out.writeBytes(segment(ADOBE, "Adobe\0\144\0\0\0\0\0"));
    } else if (components != 4) {
      out.writeBytes(segment(JFIF, "JFIF\0\1\1\0\0\1\0\1\0\0"));
    }
    kept.writeTo(out);
    out.write(jpeg, scan, jpeg.length - scan);
    return out.toByteArray();
  }

  /** Reads up to the first scan and returns where that is. */
  private int readSegments() throws IOException {
    int at = 2;
    while (true) {
      while (at + 1 < jpeg.length && jpeg[at] == (byte) 0xff && jpeg[at + 1] == (byte) 0xff) {
        at++; // fill bytes
      }
      if (at + 4 > jpeg.length) {
        throw new IOException("the JPEG is truncated before its first scan");
      }
      int marker = u16(at);
      int length = u16(at + 2);
      if (marker < 0xffc0 || length < 2 || at + 2 + length > jpeg.length) {
        throw new IOException("the JPEG is damaged: no marker segment at byte " + at);
      }
      if (marker == START_OF_SCAN) {
        return at;
      }
      int body = at + 4;
      if (isStartOfFrame(marker)) {
        readFrame(marker, body, length);
      } else if (marker == JFIF && startsWith(body, length - 2, "JFIF\0")) {
        jfif = true;
      } else if (marker == ADOBE && length >= 14 && startsWith(body, length - 2, "Adobe")) {
        adobeTransform = jpeg[body + 11] & 0xff;
      } else if (marker == EXIF_OR_XMP && startsWith(body, length - 2, "Exif\0\0")) {
        byte[] data = Arrays.copyOfRange(jpeg, body + 6, at + 2 + length);
        exif = exif == null ? data : joined(exif, data);
      } else if (marker == EXIF_OR_XMP && startsWith(body, length - 2, XMP)) {
        xmp = Arrays.copyOfRange(jpeg, body + XMP.length(), at + 2 + length);
      }
      boolean application = marker >= 0xffe0 && marker <= 0xffef;
      boolean comment = marker == 0xfffe;
      if (!application && !comment) {
        kept.write(jpeg, at, 2 + length);
      }
      at += 2 + length;
    }
  }

  private void readFrame(int marker, int body, int length) throws IOException {
    if (length < 8) {
      throw new IOException("the JPEG is damaged: frame header of " + length + " bytes");
    }
    if (marker > 0xffc2) {
      throw new IOException(
          "the JPEG is %s; baseline and progressive ones are supported"
              .formatted(
                  marker == 0xffc3
                      ? "lossless"
                      : marker >= 0xffc9 ? "arithmetic-coded" : "hierarchical"));
    }
    if (jpeg[body] != 8) {
      throw new IOException("JPEG with " + jpeg[body] + " bits per sample; 8 are supported");
    }
    PictureDecoder.checkSize(u16(body + 3), u16(body + 1));
    components = jpeg[body + 5] & 0xff;
    if (length < 8 + 3 * components) {
      throw new IOException("the JPEG is damaged: frame header of " + length + " bytes");
    }
    StringBuilder names = new StringBuilder();
    for (int c = 0; c < Math.min(components, 4); c++) {
      names.append((char) (jpeg[body + 6 + 3 * c] & 0xff));
      across[c] = (jpeg[body + 7 + 3 * c] >> 4) & 15;
      down[c] = jpeg[body + 7 + 3 * c] & 15;
    }
    ids = names.toString();
  }

  /** libjpeg would fill up what is missing with grey; Pillow refuses, and so do we. */
  private void requireEnd(int scan) throws IOException {
    for (int i = jpeg.length - 2; i > scan; i--) {
      if (u16(i) == END_OF_IMAGE) {
        return;
      }
    }
    throw new IOException("the JPEG is truncated");
  }

  /** libjpeg's rule for three components: JFIF, then Adobe's word, then the components' names. */
  private boolean isRgb() {
    if (jfif) {
      return false;
    }
    return adobeTransform >= 0 ? adobeTransform == 0 : ids.equals("RGB");
  }

  private RgbImage toRgb(byte[] plain) throws IOException {
    if (components == 4) {
      return fromCmyk(planes(PictureDecoder.raster("jpeg", "JPEG", plain)));
    }
    if (components == 3 && !isRgb() && (rowsOnly(1) || rowsOnly(2))) {
      return fromYcc(planes(PictureDecoder.raster("jpeg", "JPEG", plain)));
    }
    BufferedImage image = PictureDecoder.image("jpeg", "JPEG", plain);
    Raster raster = image.getRaster();
    int width = raster.getWidth();
    byte[] rgb = new byte[Math.toIntExact(3L * width * raster.getHeight())];
    int[] row = new int[width * components];
    for (int y = 0; y < raster.getHeight(); y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int to = 3 * (y * width + x);
        if (components == 1) {
          Pillow.grey(row[x], rgb, to);
        } else {
          rgb[to] = (byte) row[3 * x];
          rgb[to + 1] = (byte) row[3 * x + 1];
          rgb[to + 2] = (byte) row[3 * x + 2];
        }
      }
    }
    return new RgbImage(width, raster.getHeight(), rgb, components == 1 ? "L" : "RGB");
  }

  /** Whether a component has all columns and every second row, as after turning a 4:2:2 picture. */
  private boolean rowsOnly(int component) {
    return across[component] == Arrays.stream(across).max().orElseThrow()
        && 2 * down[component] == Arrays.stream(down).max().orElseThrow();
  }

  /** The components as the JPEG has them, subsampled ones interpolated as libjpeg-turbo does. */
  private Planes planes(Raster raster) {
    int width = raster.getWidth();
    int height = raster.getHeight();
    byte[][] planes = new byte[components][Math.toIntExact((long) width * height)];
    int[] row = new int[width];
    for (int c = 0; c < components; c++) {
      for (int y = 0; y < height; y++) {
        raster.getSamples(raster.getMinX(), raster.getMinY() + y, width, 1, c, row);
        for (int x = 0; x < width; x++) {
          planes[c][y * width + x] = (byte) row[x];
        }
      }
      if (rowsOnly(c)) {
        planes[c] = interpolatedRows(planes[c], width, height);
      }
    }
    return new Planes(width, height, planes);
  }

  private record Planes(int width, int height, byte[][] samples) {
    int at(int component, int pixel) {
      return samples[component][pixel] & 0xff;
    }

    int pixels() {
      return width * height;
    }
  }

  /**
   * The JDK's libjpeg repeats each row of such a component; libjpeg-turbo mixes three parts of the
   * nearest row and one of the next.
   */
  private static byte[] interpolatedRows(byte[] repeated, int width, int height) {
    byte[] out = new byte[repeated.length];
    int last = (height - 1) / 2;
    for (int y = 0; y < height; y++) {
      int near = y / 2;
      int next = Math.clamp(y % 2 == 0 ? near - 1L : near + 1L, 0, last);
      int bias = y % 2 == 0 ? 1 : 2;
      for (int x = 0; x < width; x++) {
        int sum =
            3 * (repeated[2 * near * width + x] & 0xff) + (repeated[2 * next * width + x] & 0xff);
        out[y * width + x] = (byte) ((sum + bias) >> 2);
      }
    }
    return out;
  }

  private RgbImage fromYcc(Planes planes) {
    byte[] rgb = new byte[Math.toIntExact(3L * planes.pixels())];
    for (int i = 0; i < planes.pixels(); i++) {
      yccToRgb(planes.at(0, i), planes.at(1, i), planes.at(2, i), rgb, 3 * i);
    }
    return new RgbImage(planes.width, planes.height, rgb);
  }

  /** Pillow takes all four inverted, as Adobe's programs write them, whatever the markers say. */
  private RgbImage fromCmyk(Planes planes) {
    boolean ycck = adobeTransform > 0;
    byte[] out = new byte[Math.toIntExact(3L * planes.pixels())];
    byte[] rgb = new byte[3];
    for (int i = 0; i < planes.pixels(); i++) {
      int black = 255 - planes.at(3, i);
      if (ycck) {
        yccToRgb(planes.at(0, i), planes.at(1, i), planes.at(2, i), rgb, 0);
        Pillow.cmyk(rgb[0] & 0xff, rgb[1] & 0xff, rgb[2] & 0xff, black, out, 3 * i);
      } else {
        Pillow.cmyk(
            255 - planes.at(0, i), 255 - planes.at(1, i), 255 - planes.at(2, i), black, out, 3 * i);
      }
    }
    return new RgbImage(planes.width, planes.height, out, "CMYK");
  }

  /** libjpeg's fixed-point conversion, with 16 fractional bits. */
  private static void yccToRgb(int luma, int blue, int red, byte[] rgb, int at) {
    int half = 1 << 15;
    int cb = blue - 128;
    int cr = red - 128;
    rgb[at] = (byte) Math.clamp(luma + ((91_881 * cr + half) >> 16), 0, 255);
    rgb[at + 1] = (byte) Math.clamp(luma + ((-22_554 * cb - 46_802 * cr + half) >> 16), 0, 255);
    rgb[at + 2] = (byte) Math.clamp(luma + ((116_130 * cb + half) >> 16), 0, 255);
  }

  private int u16(int at) {
    return (jpeg[at] & 0xff) << 8 | (jpeg[at + 1] & 0xff);
  }

  private static boolean isStartOfFrame(int marker) {
    return marker >= 0xffc0
        && marker <= 0xffcf
        && marker != 0xffc4
        && marker != 0xffc8
        && marker != 0xffcc;
  }

  private boolean startsWith(int at, int available, String prefix) {
    return available >= prefix.length()
        && new String(jpeg, at, prefix.length(), ISO_8859_1).equals(prefix);
  }

  private static byte[] joined(byte[] first, byte[] second) {
    byte[] both = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, both, first.length, second.length);
    return both;
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
