package org.fishermerge.data;

import java.util.Arrays;

/**
 * Resampling with the results of Pillow's {@code Image.resize}: a horizontal then a vertical pass,
 * the filter stretched by the reduction factor, weights in fixed point with 22 fractional bits, and
 * an 8-bit picture between the passes. CLIP models were trained and evaluated on such pictures, so
 * the rounding is part of the definition.
 */
enum Resampler {
  // In the order of Pillow's numbers, by which settings files name them.
  NEAREST(0),
  LANCZOS(3),
  BILINEAR(1),
  BICUBIC(2),
  BOX(0.5),
  HAMMING(1);

  /** Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -1/2. */
  private static final double A = -0.5;

  /** 32 bits less 8 for the sample and 2 for the sum of weights beyond one. */
  private static final int FRACTION_BITS = 22;

  /** Distance from its centre, in input samples of an enlarged picture, at which a filter ends. */
  private final double radius;

  Resampler(double radius) {
    this.radius = radius;
  }

  RgbImage resize(RgbImage image, int width, int height) {
    if (this == NEAREST) {
      return nearest(image, width, height);
    }
    RgbImage wide = image.width() == width ? image : resizeRows(image, width);
    return wide.height() == height ? wide : resizeColumns(wide, height);
  }

  private static RgbImage nearest(RgbImage image, int width, int height) {
    int[] columns = nearest(image.width(), width);
    int[] rows = nearest(image.height(), height);
    byte[] in = image.pixels();
    byte[] out = new byte[Math.toIntExact(3L * width * height)];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int from = 3 * (rows[y] * image.width() + columns[x]);
        System.arraycopy(in, from, out, 3 * (y * width + x), 3);
      }
    }
    return new RgbImage(width, height, out);
  }

  /** The input sample for each output sample, by steps that add up with their rounding errors. */
  private static int[] nearest(int in, int out) {
    double step = (double) in / out;
    double place = step * 0.5;
    int[] samples = new int[out];
    for (int i = 0; i < out; i++) {
      samples[i] = Math.min((int) place, in - 1);
      place += step;
    }
    return samples;
  }

  private RgbImage resizeRows(RgbImage image, int width) {
    Weights weights = new Weights(this, image.width(), width);
    int height = image.height();
    byte[] in = image.pixels();
    byte[] out = new byte[Math.toIntExact(3L * width * height)];
    for (int y = 0; y < height; y++) {
      int row = 3 * y * image.width();
      for (int x = 0; x < width; x++) {
        int count = weights.count[x];
        int tap = weights.start(x);
        int from = row + 3 * weights.first[x];
        int red = 1 << (FRACTION_BITS - 1);
        int green = red;
        int blue = red;
        for (int k = 0; k < count; k++) {
          int weight = weights.fixed[tap + k];
          red += weight * (in[from + 3 * k] & 0xff);
          green += weight * (in[from + 3 * k + 1] & 0xff);
          blue += weight * (in[from + 3 * k + 2] & 0xff);
        }
        int to = 3 * (y * width + x);
        out[to] = toByte(red);
        out[to + 1] = toByte(green);
        out[to + 2] = toByte(blue);
      }
    }
    return new RgbImage(width, height, out);
  }

  private RgbImage resizeColumns(RgbImage image, int height) {
    Weights weights = new Weights(this, image.height(), height);
    int stride = 3 * image.width();
    byte[] in = image.pixels();
    byte[] out = new byte[Math.toIntExact((long) stride * height)];
    int[] sums = new int[stride];
    for (int y = 0; y < height; y++) {
      Arrays.fill(sums, 1 << (FRACTION_BITS - 1));
      for (int k = 0; k < weights.count[y]; k++) {
        int weight = weights.fixed[weights.start(y) + k];
        int from = (weights.first[y] + k) * stride;
        for (int i = 0; i < stride; i++) {
          sums[i] += weight * (in[from + i] & 0xff);
        }
      }
      for (int i = 0; i < stride; i++) {
        out[y * stride + i] = toByte(sums[i]);
      }
    }
    return new RgbImage(image.width(), height, out);
  }

  private static byte toByte(int sum) {
    return (byte) Math.clamp(sum >> FRACTION_BITS, 0, 255);
  }

  /** For each output sample, the input samples it covers and their weights, which sum to one. */
  private static final class Weights {
    final int taps;
    final int[] first;
    final int[] count;
    final int[] fixed;

    Weights(Resampler filter, int in, int out) {
      double scale = (double) in / out;
      // Reducing widens the kernel to cover everything it drops; enlarging interpolates.
      double stretch = Math.max(scale, 1.0);
      double radius = filter.radius * stretch;
      taps = (int) Math.ceil(radius) * 2 + 1;
      first = new int[out];
      count = new int[out];
      fixed = new int[Math.multiplyExact(out, taps)];
      double[] weights = new double[taps];
      for (int i = 0; i < out; i++) {
        double center = (i + 0.5) * scale;
        first[i] = Math.max((int) (center - radius + 0.5), 0);
        count[i] = Math.min((int) (center + radius + 0.5), in) - first[i];
        double total = 0;
        for (int k = 0; k < count[i]; k++) {
          weights[k] = filter.weight((first[i] + k - center + 0.5) * (1.0 / stretch));
          total += weights[k];
        }
        for (int k = 0; k < count[i]; k++) {
          double weight = total == 0 ? weights[k] : weights[k] / total;
          fixed[i * taps + k] = roundAwayFromZero(weight * (1 << FRACTION_BITS));
        }
      }
    }

    int start(int output) {
      return output * taps;
    }

    private static int roundAwayFromZero(double value) {
      return (int) (value < 0 ? value - 0.5 : value + 0.5);
    }
  }

  /** The filter at a distance from its centre. */
  private double weight(double x) {
    double d = Math.abs(x);
    return switch (this) {
      case NEAREST -> throw new IllegalStateException();
      case BOX -> x > -0.5 && x <= 0.5 ? 1 : 0;
      case BILINEAR -> Math.max(0, 1 - d);
      case HAMMING -> d >= 1 ? 0 : sinc(d) * (0.54f + 0.46f * Math.cos(Math.PI * d));
      case LANCZOS -> x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
      case BICUBIC -> {
        if (d < 1) {
          yield ((A + 2) * d - (A + 3)) * d * d + 1;
        }
        yield d < 2 ? (((d - 5) * d + 8) * d - 4) * A : 0;
      }
    };
  }

  private static double sinc(double x) {
    return x == 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  }
}
