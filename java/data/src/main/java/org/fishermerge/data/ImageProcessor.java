package org.fishermerge.data;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.data.PictureSettings.Resize;
import org.fishermerge.data.PictureSettings.Size;

/**
 * What happens to a picture between its bytes and the tensor, as in a FusionBench run: decoded and
 * turned upright as the {@code datasets} library does, then resized in 8-bit arithmetic, cropped,
 * rescaled and normalised as transformers' image processors do with their Pillow back end, which
 * the published CLIP tables were made with. Immutable and safe for any number of threads.
 */
public final class ImageProcessor {
  /** The keys of {@code preprocessor_config.json}, or of what stands for it. */
  public static final SettingsKeys SETTINGS = PictureSettings.KEYS;

  /** The keys of {@code processor_config.json} itself. */
  public static final SettingsKeys PROCESSOR_SETTINGS = PictureSettings.PROCESSOR_KEYS;

  private final PictureSettings settings;
  private final int width;
  private final int height;
  private final float[][] levels;

  private ImageProcessor(PictureSettings settings, int size) {
    this.settings = settings;
    Size result = new Size(size, size);
    if (settings.pad() != null) {
      result = settings.pad();
    } else if (settings.crop() != null) {
      result = settings.crop();
    } else if (settings.resize() instanceof Resize.Exact(Size exact)) {
      result = exact;
    }
    this.width = result.width();
    this.height = result.height();
    this.levels = levels(settings);
  }

  /** The processor of OpenAI's CLIP models for square pictures of {@code size} pixels. */
  public static ImageProcessor clip(int size) {
    if (size <= 0 || size > PictureSettings.MAX_EDGE) {
      throw new IllegalArgumentException("picture size " + size);
    }
    return new ImageProcessor(PictureSettings.clip(size, "CLIP", List.of()), size);
  }

  /**
   * The processor that the settings files of a model's folder ask for, or CLIP's where there are
   * none.
   *
   * @param files finds the files of the folder by their names
   * @param folder the folder, for messages
   * @param size edge of the pictures that the model takes, which pictures must come out with if the
   *     settings leave their size open
   * @throws InputException if a file cannot be read or asks for something that is not supported
   */
  public static ImageProcessor ofModel(
      Function<String, Optional<Path>> files, Path folder, int size) {
    return new ImageProcessor(PictureSettings.of(files, folder, size), size);
  }

  /**
   * What is odd about the settings but does not stop their use, or that there are none: sentences
   * for the user. They do not matter to pictures that come already processed.
   */
  public List<String> warnings() {
    return settings.warnings();
  }

  /** Width of the processed picture in pixels. */
  public int width() {
    return width;
  }

  /** Height of the processed picture in pixels. */
  public int height() {
    return height;
  }

  /**
   * Decodes and processes a picture.
   *
   * @return F32 values [3, height, width], flattened
   * @throws InputException if the bytes are no whole picture of an accepted kind and size
   */
  public float[] process(byte[] encoded) {
    float[] values = new float[3 * width * height];
    try {
      process(encoded, MemorySegment.ofArray(values));
    } catch (IOException e) {
      throw new InputException("cannot read the picture: " + e.getMessage(), e);
    }
    return values;
  }

  /**
   * {@link #process(byte[])} into the caller's memory.
   *
   * @throws IOException if the picture cannot be read, with a message that says why
   */
  void process(byte[] encoded, MemorySegment out) throws IOException {
    RgbImage decoded = PictureDecoder.decode(encoded);
    if (!settings.convertRgb() && !decoded.mode().equals("RGB")) {
      throw new IOException(
          "its mode is %s, and by %s only pictures of mode RGB are taken; do_convert_rgb = true there converts all"
              .formatted(decoded.mode(), settings.source()));
    }
    RgbImage image = resized(decoded);
    Size crop = settings.crop() == null ? new Size(image.width(), image.height()) : settings.crop();
    requireFit(crop);
    // Where a picture is smaller than the crop, transformers pads it on all sides and rounds the
    // margins at the left and the top up.
    int left = offset(image.width(), crop.width());
    int top = offset(image.height(), crop.height());
    byte[] pixels = image.pixels();
    for (int channel = 0; channel < 3; channel++) {
      float[] level = levels[channel];
      for (int y = 0; y < height; y++) {
        long to = ((long) channel * height + y) * width;
        int fromY = y + top;
        boolean insideY = fromY >= 0 && fromY < image.height();
        for (int x = 0; x < width; x++) {
          int fromX = x + left;
          float value = 0; // padding, after normalisation
          if (x < crop.width() && y < crop.height()) {
            boolean inside = insideY && fromX >= 0 && fromX < image.width();
            value =
                level[inside ? pixels[3 * (fromY * image.width() + fromX) + channel] & 0xff : 0];
          }
          out.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, to + x, value);
        }
      }
    }
  }

  private void requireFit(Size picture) throws IOException {
    boolean padded = settings.pad() != null;
    if (padded
        ? picture.width() > width || picture.height() > height
        : picture.width() != width || picture.height() != height) {
      throw new IOException(
          "it comes out as %d x %d pixels, where %d x %d are needed; crop_size, or size with height and width, in %s would make all pictures alike"
              .formatted(picture.width(), picture.height(), width, height, settings.source()));
    }
  }

  /** Rescales and normalises raw pixels U8 [3, height, width] into F32 of the same shape. */
  void normalize(MemorySegment raw, MemorySegment out) {
    int plane = width * height;
    // Through arrays, whose elements cost no check of a segment each.
    byte[] in = new byte[plane];
    float[] normalized = new float[plane];
    for (int channel = 0; channel < 3; channel++) {
      float[] level = levels[channel];
      long start = (long) channel * plane;
      MemorySegment.copy(raw, ValueLayout.JAVA_BYTE, start, in, 0, plane);
      for (int i = 0; i < plane; i++) {
        normalized[i] = level[in[i] & 0xff];
      }
      MemorySegment.copy(
          normalized, 0, out, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, plane);
    }
  }

  private static int offset(int size, int crop) {
    return size >= crop ? (size - crop) / 2 : -((crop - size + 1) / 2);
  }

  private RgbImage resized(RgbImage image) throws IOException {
    double wide = image.width();
    double tall = image.height();
    double toWidth = wide;
    double toHeight = tall;
    switch (settings.resize()) {
      case Resize.None() -> {
        return image;
      }
      case Resize.Exact(Size size) -> {
        toWidth = size.width();
        toHeight = size.height();
      }
      case Resize.ShortestEdge(int edge, int longest) -> {
        double shorter = Math.min(wide, tall);
        double longer = Math.max(wide, tall);
        double toShorter = edge;
        double toLonger = Math.floor(edge * longer / shorter);
        if (longest > 0 && longer / shorter * edge > longest) {
          // In the order of transformers' steps: the longer edge is computed from the exact shorter
          // one.
          double raw = longest * shorter / longer;
          toShorter = Math.rint(raw);
          toLonger = toShorter == shorter ? longer : Math.floor(raw * longer / shorter);
        }
        toWidth = wide < tall ? toShorter : toLonger;
        toHeight = wide < tall ? toLonger : toShorter;
      }
      case Resize.Within(Size size) -> {
        double scale = Math.min(size.height() / tall, size.width() / wide);
        toWidth = Math.floor(wide * scale);
        toHeight = Math.floor(tall * scale);
      }
    }
    if (toWidth < 1 || toHeight < 1) {
      throw new IOException(
          "%d x %d pixels is too long and thin: resizing it by %s would leave nothing"
              .formatted(image.width(), image.height(), settings.source()));
    }
    // The picture between the two passes has the new width and the old height.
    if (toWidth * Math.max(toHeight, tall) > PictureDecoder.MAX_PIXELS) {
      throw new IOException(
          "%d x %d pixels is too long and thin: resizing would make it %.0f x %.0f"
              .formatted(image.width(), image.height(), toWidth, toHeight));
    }
    return settings.resampler().resize(image, (int) toWidth, (int) toHeight);
  }

  /** The value of each of the 256 levels per channel, in the same float steps as transformers. */
  private static float[][] levels(PictureSettings settings) {
    double[] mean = settings.mean();
    double[] std = settings.std();
    float[][] levels = new float[3][256];
    for (int channel = 0; channel < 3; channel++) {
      for (int value = 0; value < 256; value++) {
        float rescaled = (float) (value * settings.rescaleFactor());
        levels[channel][value] =
            mean == null || std == null
                ? rescaled
                : (rescaled - (float) mean[channel]) / (float) std[channel];
      }
    }
    return levels;
  }
}
