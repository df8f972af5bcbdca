package org.fishermerge.data;

/** A decoded picture. */
final class RgbImage {
  private final int width;
  private final int height;
  private final byte[] pixels;
  private final String mode;

  RgbImage(int width, int height, byte[] pixels) {
    this(width, height, pixels, "RGB");
  }

  /**
   * A picture.
   *
   * @param mode what Pillow calls the kind of picture that this was before it became RGB: L, P,
   *     RGBA, CMYK and so on
   */
  RgbImage(int width, int height, byte[] pixels, String mode) {
    if (width <= 0 || height <= 0 || pixels.length != 3L * width * height) {
      throw new IllegalArgumentException(
          width + "x" + height + " RGB does not fit " + pixels.length + " bytes");
    }
    this.width = width;
    this.height = height;
    this.pixels = pixels;
    this.mode = mode;
  }

  int width() {
    return width;
  }

  int height() {
    return height;
  }

  /** Row by row, red, green and blue of a pixel next to each other; not a copy. */
  byte[] pixels() {
    return pixels;
  }

  /** Pillow's name of the mode that the picture is stored in. */
  String mode() {
    return mode;
  }
}
