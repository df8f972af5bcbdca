package org.fishermerge.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.IOException;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How a camera was held, 1 to 8 as EXIF counts, by which a picture is turned upright. The {@code
 * datasets} library turns every picture that says so; Pillow takes the word of EXIF, then of XMP.
 */
final class Orientation {
  private static final int TAG = 0x112;
  private static final Pattern IN_XMP = Pattern.compile("tiff:Orientation(?:=\"|>)([0-9])");
  private static final byte[] EXIF = "Exif\0\0".getBytes(ISO_8859_1);

  private Orientation() {}

  /**
   * Turns a picture.
   *
   * @param exif the picture's EXIF data, if it has any; data that cannot be read say nothing
   * @param xmp the picture's XMP packet, if it has one
   */
  static RgbImage apply(RgbImage image, byte @Nullable [] exif, byte @Nullable [] xmp) {
    Long orientation = exif == null ? null : inExif(exif);
    return apply(image, orientation == null ? inXmp(xmp) : orientation);
  }

  /** Turns a picture whose tags are known. */
  static RgbImage apply(RgbImage image, TiffDirectory tags, byte @Nullable [] xmp) {
    return apply(image, tags.has(TAG) ? tags.value(TAG, 1) : inXmp(xmp));
  }

  private static @Nullable Long inExif(byte[] exif) {
    int start = 0;
    while (Arrays.equals(exif, start, Math.min(exif.length, start + 6), EXIF, 0, 6)) {
      start += 6;
    }
    try {
      TiffDirectory tags = TiffDirectory.read(Arrays.copyOfRange(exif, start, exif.length));
      return tags.has(TAG) ? tags.value(TAG, 1) : null;
    } catch (IOException | RuntimeException e) {
      return null;
    }
  }

  private static long inXmp(byte @Nullable [] xmp) {
    if (xmp == null) {
      return 1;
    }
    Matcher found = IN_XMP.matcher(new String(xmp, ISO_8859_1));
    return found.find() ? found.group(1).charAt(0) - '0' : 1;
  }

  private static RgbImage apply(RgbImage image, long orientation) {
    if (orientation < 2 || orientation > 8) {
      return image;
    }
    boolean sideways = orientation >= 5;
    boolean fromRight =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    boolean fromBottom =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    int width = sideways ? image.height() : image.width();
    int height = sideways ? image.width() : image.height();
    byte[] in = image.pixels();
    byte[] out = new byte[in.length];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int column = sideways ? y : x;
        int row = sideways ? x : y;
        int fromX = fromRight ? image.width() - 1 - column : column;
        int fromY = fromBottom ? image.height() - 1 - row : row;
        System.arraycopy(in, 3 * (fromY * image.width() + fromX), out, 3 * (y * width + x), 3);
      }
    }
    return new RgbImage(width, height, out, image.mode());
  }
}
