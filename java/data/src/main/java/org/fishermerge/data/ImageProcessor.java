package org.fishermerge.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;

/**
 * The CLIP image processor of Hugging Face transformers with its Pillow back end, which the
 * published CLIP tables were made with: RGB, shortest edge resized by antialiased bicubic in 8-bit
 * arithmetic, centre crop, rescale, normalise. Immutable and safe for any number of threads.
 */
public final class ImageProcessor {
  private static final int BICUBIC = 3;
  private static final int MAX_EDGE = 16_384;
  private static final double[] CLIP_MEAN = {0.48145466, 0.4578275, 0.40821073};
  private static final double[] CLIP_STD = {0.26862954, 0.26130258, 0.27577711};

  /** How {@link #resized} finds the size: by the shorter edge, to a fixed size, or not at all. */
  private sealed interface Resize {
    record ShortestEdge(int edge) implements Resize {}

    record Exact(int width, int height) implements Resize {}

    record None() implements Resize {}
  }

  private final Resize resize;
  private final int width;
  private final int height;
  private final float[][] levels;

  private ImageProcessor(Resize resize, int width, int height, float[][] levels) {
    this.resize = resize;
    this.width = width;
    this.height = height;
    this.levels = levels;
  }

  /** The processor of OpenAI's CLIP models for square pictures of {@code size} pixels. */
  public static ImageProcessor clip(int size) {
    if (size <= 0 || size > MAX_EDGE) {
      throw new IllegalArgumentException("picture size " + size);
    }
    return new ImageProcessor(
        new Resize.ShortestEdge(size), size, size, levels(1.0 / 255, CLIP_MEAN, CLIP_STD));
  }

  /**
   * Reads a {@code preprocessor_config.json}. Absent keys have CLIP's defaults.
   *
   * @param file the file, or the model folder that holds it
   * @throws InputException if it cannot be read, asks for something that is not supported (another
   *     resampling filter, pictures left in varying sizes), or has a value of a wrong kind
   */
  public static ImageProcessor fromPreprocessorConfig(Path file) {
    Path config = Files.isDirectory(file) ? file.resolve("preprocessor_config.json") : file;
    JsonNode root = Json.object(config);
    Reader reader = new Reader(config, root);
    if (!reader.flag("do_convert_rgb")) {
      throw reader.unsupported("do_convert_rgb", "pictures are always converted to RGB");
    }
    Resize resize = reader.flag("do_resize") ? reader.resize() : new Resize.None();
    int width;
    int height;
    if (reader.flag("do_center_crop")) {
      JsonNode crop = root.get("crop_size");
      width = crop == null ? 224 : reader.edge("crop_size", crop, "width");
      height = crop == null ? 224 : reader.edge("crop_size", crop, "height");
    } else if (resize instanceof Resize.Exact(int exactWidth, int exactHeight)) {
      width = exactWidth;
      height = exactHeight;
    } else {
      throw reader.unsupported(
          "do_center_crop",
          "without it pictures differ in size; set crop_size, or size with height and width");
    }
    double factor = reader.flag("do_rescale") ? reader.rescaleFactor() : 1;
    boolean normalize = reader.flag("do_normalize");
    double[] mean = normalize ? reader.channels("image_mean", CLIP_MEAN) : new double[] {0, 0, 0};
    double[] std = normalize ? reader.channels("image_std", CLIP_STD) : new double[] {1, 1, 1};
    return new ImageProcessor(resize, width, height, levels(factor, mean, std));
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
   * Decodes and processes a PNG or JPEG picture.
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
    RgbImage image = resized(PictureDecoder.decode(encoded));
    // Where a picture is smaller than the crop, transformers pads it on all sides and rounds the
    // margins at the left and the top up.
    int left = offset(image.width(), width);
    int top = offset(image.height(), height);
    byte[] pixels = image.pixels();
    for (int channel = 0; channel < 3; channel++) {
      float[] level = levels[channel];
      for (int y = 0; y < height; y++) {
        long to = ((long) channel * height + y) * width;
        int fromY = y + top;
        boolean insideY = fromY >= 0 && fromY < image.height();
        for (int x = 0; x < width; x++) {
          int fromX = x + left;
          boolean inside = insideY && fromX >= 0 && fromX < image.width();
          int value = inside ? pixels[3 * (fromY * image.width() + fromX) + channel] & 0xff : 0;
          out.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, to + x, level[value]);
        }
      }
    }
  }

  /** Rescales and normalises raw pixels U8 [3, height, width] into F32 of the same shape. */
  void normalize(MemorySegment raw, MemorySegment out) {
    long plane = (long) width * height;
    for (int channel = 0; channel < 3; channel++) {
      float[] level = levels[channel];
      for (long i = channel * plane; i < (channel + 1) * plane; i++) {
        int value = raw.get(ValueLayout.JAVA_BYTE, i) & 0xff;
        out.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, level[value]);
      }
    }
  }

  private static int offset(int size, int crop) {
    return size >= crop ? (size - crop) / 2 : -((crop - size + 1) / 2);
  }

  private RgbImage resized(RgbImage image) throws IOException {
    return switch (resize) {
      case Resize.None() -> image;
      case Resize.Exact(int toWidth, int toHeight) ->
          BicubicResampler.resize(image, toWidth, toHeight);
      case Resize.ShortestEdge(int edge) -> {
        int shorter = Math.min(image.width(), image.height());
        long longer = (long) edge * Math.max(image.width(), image.height()) / shorter;
        if (longer * edge > PictureDecoder.MAX_PIXELS) {
          throw new IOException(
              "%d x %d pixels is too long and thin: resizing the shorter edge to %d would make it %d x %d"
                  .formatted(image.width(), image.height(), edge, edge, longer));
        }
        boolean wide = image.width() > image.height();
        yield BicubicResampler.resize(
            image, wide ? (int) longer : edge, wide ? edge : (int) longer);
      }
    };
  }

  /** The value of each of the 256 levels per channel, in the same float steps as transformers. */
  private static float[][] levels(double factor, double[] mean, double[] std) {
    float[][] levels = new float[3][256];
    for (int channel = 0; channel < 3; channel++) {
      for (int value = 0; value < 256; value++) {
        float rescaled = (float) (value * factor);
        levels[channel][value] = (rescaled - (float) mean[channel]) / (float) std[channel];
      }
    }
    return levels;
  }

  private record Reader(Path file, JsonNode root) {
    boolean flag(String key) {
      JsonNode value = root.get(key);
      if (value == null || value.isNull()) {
        return true;
      }
      if (!value.isBoolean()) {
        throw wrong(key, value, "true or false");
      }
      return value.booleanValue();
    }

    Resize resize() {
      JsonNode filter = root.get("resample");
      if (filter != null && !(filter.isInt() && filter.intValue() == BICUBIC)) {
        throw unsupported("resample", "only 3 (bicubic), which CLIP uses, is supported");
      }
      JsonNode size = root.get("size");
      if (size == null) {
        return new Resize.ShortestEdge(224);
      }
      if (size.isInt()) {
        return new Resize.ShortestEdge(edge("size", size, ""));
      }
      if (size.isObject() && size.size() == 1 && size.has("shortest_edge")) {
        return new Resize.ShortestEdge(edge("size", size, "shortest_edge"));
      }
      if (size.isObject() && size.size() == 2 && size.has("height") && size.has("width")) {
        return new Resize.Exact(edge("size", size, "width"), edge("size", size, "height"));
      }
      throw wrong("size", size, "a number, {\"shortest_edge\"} or {\"height\", \"width\"}");
    }

    /** A number for both edges, or one of an object. */
    int edge(String key, JsonNode value, String member) {
      JsonNode number = value.isObject() ? value.get(member) : value;
      if (number == null
          || !number.isInt()
          || number.intValue() <= 0
          || number.intValue() > MAX_EDGE) {
        throw wrong(key, value, "whole numbers of pixels from 1 to " + MAX_EDGE);
      }
      return number.intValue();
    }

    double rescaleFactor() {
      JsonNode value = root.get("rescale_factor");
      if (value == null) {
        return 1.0 / 255;
      }
      if (!value.isNumber() || !(value.doubleValue() > 0)) {
        throw wrong("rescale_factor", value, "a positive number");
      }
      return value.doubleValue();
    }

    double[] channels(String key, double[] absent) {
      JsonNode value = root.get(key);
      if (value == null) {
        return absent;
      }
      double[] channels = new double[3];
      boolean valid = value.isArray() && value.size() == 3;
      for (int i = 0; valid && i < 3; i++) {
        channels[i] = value.get(i).doubleValue();
        valid = value.get(i).isNumber() && (key.equals("image_mean") || channels[i] > 0);
      }
      if (!valid) {
        throw wrong(key, value, "three numbers, for image_std above zero");
      }
      return channels;
    }

    InputException unsupported(String key, String why) {
      return new InputException(
          "%s: %s = %s is not supported: %s".formatted(file, key, root.get(key), why));
    }

    private InputException wrong(String key, JsonNode value, String expected) {
      return new InputException("%s: %s = %s; expected %s".formatted(file, key, value, expected));
    }
  }
}
