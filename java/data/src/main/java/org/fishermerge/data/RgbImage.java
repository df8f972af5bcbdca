package org.fishermerge.data;

/**
 * A decoded picture: {@code 3 * width * height} bytes, row by row, red, green and blue of a pixel
 * next to each other.
 */
@SuppressWarnings("ArrayRecordComponent") // a working value, never compared
record RgbImage(int width, int height, byte[] pixels) {
  RgbImage {
    if (width <= 0 || height <= 0 || pixels.length != 3L * width * height) {
      throw new IllegalArgumentException(
          width + "x" + height + " RGB does not fit " + pixels.length + " bytes");
    }
  }
}
