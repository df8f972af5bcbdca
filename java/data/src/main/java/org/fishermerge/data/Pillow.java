package org.fishermerge.data;

/** Arithmetic of Pillow's colour conversions, in 8 bits. */
final class Pillow {
  private Pillow() {}

  /** {@code a * b / 255}, rounded as Pillow rounds it; both from 0 to 255. */
  private static int product(int a, int b) {
    int sum = a * b + 128;
    return ((sum >> 8) + sum) >> 8;
  }

  /** Writes the RGB of cyan, magenta, yellow and black, each from 0 (none) to 255, at a place. */
  static void cmyk(int cyan, int magenta, int yellow, int black, byte[] rgb, int at) {
    int light = 255 - black;
    rgb[at] = (byte) Math.clamp(light - product(cyan, light), 0, 255);
    rgb[at + 1] = (byte) Math.clamp(light - product(magenta, light), 0, 255);
    rgb[at + 2] = (byte) Math.clamp(light - product(yellow, light), 0, 255);
  }

  /** A colour that was multiplied by its alpha, without it. */
  static int unmultiplied(int colour, int alpha) {
    return alpha == 0 ? 0 : Math.min(255, 255 * colour / alpha);
  }

  /** Writes a grey level at a place. */
  static void grey(int level, byte[] rgb, int at) {
    rgb[at] = (byte) level;
    rgb[at + 1] = (byte) level;
    rgb[at + 2] = (byte) level;
  }
}
