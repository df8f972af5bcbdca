package org.fishermerge.data;

/** A decoded picture. */
final class RgbImage {
  private final int width;
  private final int height;
  private final byte[] pixels;

  RgbImage(int width, int height, byte[] pixels) {
    if (width <= 0 || height <= 0 || pixels.length != 3L * width * height) {
      throw new IllegalArgumentException(
          width + "x" + height + " RGB does not fit " + pixels.length + " bytes");
    }
    this.width = width;
    this.height = height;
    this.pixels = pixels;
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
}
