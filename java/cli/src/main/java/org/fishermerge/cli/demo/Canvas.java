package org.fishermerge.cli.demo;

import java.util.function.DoubleBinaryOperator;
import org.fishermerge.torch.objective.ExampleRandom;

/** A square RGB picture in the making, values 0..1, drawn by coverage masks without any font. */
final class Canvas {
  static final int SIDE = 32;
  static final int CHANNELS = 3;

  private final float[] pixels = new float[CHANNELS * SIDE * SIDE];
  private final ExampleRandom random;

  Canvas(ExampleRandom random) {
    this.random = random;
  }

  double uniform(double low, double high) {
    return low + (high - low) * random.nextDouble();
  }

  /** Math.hypot guards against overflow that pictures cannot have, at twenty times the cost. */
  static double distance(double dx, double dy) {
    return Math.sqrt(dx * dx + dy * dy);
  }

  int below(int bound) {
    return (int) (random.nextDouble() * bound);
  }

  /** A colour whose components are uniform. */
  double[] anyColour() {
    return new double[] {uniform(0, 1), uniform(0, 1), uniform(0, 1)};
  }

  /** A colour that stands out from another one. */
  double[] contrasting(double[] other) {
    while (true) {
      double[] colour = anyColour();
      double distance = 0;
      for (int c = 0; c < CHANNELS; c++) {
        distance += Math.abs(colour[c] - other[c]);
      }
      if (distance > 0.9) {
        return colour;
      }
    }
  }

  /** A fully saturated colour; hue 0..1 runs round the colour circle. */
  static double[] hue(double hue) {
    double[] colour = new double[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) {
      double distance = Math.abs(((hue - c / 3.0) % 1 + 1.5) % 1 - 0.5);
      colour[c] = Math.clamp(2 - 6 * distance, 0, 1);
    }
    return colour;
  }

  void fill(double[] colour) {
    paint(colour, (x, y) -> -1);
  }

  /**
   * Paints where {@code distance} is negative, with an edge one pixel soft.
   *
   * @param distance signed distance in pixels at a pixel's centre (x right, y down)
   */
  void paint(double[] colour, DoubleBinaryOperator distance) {
    for (int y = 0; y < SIDE; y++) {
      for (int x = 0; x < SIDE; x++) {
        double cover = Math.clamp(0.5 - distance.applyAsDouble(x + 0.5, y + 0.5), 0, 1);
        if (cover > 0) {
          for (int c = 0; c < CHANNELS; c++) {
            int at = (c * SIDE + y) * SIDE + x;
            pixels[at] += (float) (cover * (colour[c] - pixels[at]));
          }
        }
      }
    }
  }

  /** A stroke with round ends from one point to another. */
  void stroke(double[] colour, double x1, double y1, double x2, double y2, double radius) {
    double dx = x2 - x1;
    double dy = y2 - y1;
    double length = dx * dx + dy * dy;
    paint(
        colour,
        (x, y) -> {
          double along =
              length == 0 ? 0 : Math.clamp(((x - x1) * dx + (y - y1) * dy) / length, 0, 1);
          return distance(x - x1 - along * dx, y - y1 - along * dy) - radius;
        });
  }

  void disc(double[] colour, double centreX, double centreY, double radius) {
    paint(colour, (x, y) -> distance(x - centreX, y - centreY) - radius);
  }

  /** Adds noise to every value and returns the picture as bytes [C, H, W]. */
  byte[] finish(double noise) {
    byte[] bytes = new byte[pixels.length];
    for (int i = 0; i < bytes.length; i++) {
      double value = pixels[i] + noise * (uniform(-1, 1) + uniform(-1, 1));
      bytes[i] = (byte) Math.round(255 * Math.clamp(value, 0, 1));
    }
    return bytes;
  }
}
