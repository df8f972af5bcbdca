package org.fishermerge.data;

import java.awt.image.Raster;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.fishermerge.data.TiffDirectory.Field;

/**
 * The first page of a TIFF, in strips or tiles, uncompressed or by LZW, Deflate, PackBits, CCITT or
 * JPEG. The JDK unpacks the samples, from a directory with nothing but what says where and how they
 * are; what they mean is Pillow's reading.
 */
final class TiffPicture {
  private static final int WIDTH = 256;
  private static final int LENGTH = 257;
  private static final int BITS_PER_SAMPLE = 258;
  private static final int COMPRESSION = 259;
  private static final int PHOTOMETRIC = 262;
  private static final int FILL_ORDER = 266;
  private static final int STRIP_OFFSETS = 273;
  private static final int SAMPLES_PER_PIXEL = 277;
  private static final int ROWS_PER_STRIP = 278;
  private static final int STRIP_BYTE_COUNTS = 279;
  private static final int PLANAR = 284;
  private static final int T4_OPTIONS = 292;
  private static final int PREDICTOR = 317;
  private static final int COLOR_MAP = 320;
  private static final int TILE_WIDTH = 322;
  private static final int TILE_LENGTH = 323;
  private static final int TILE_OFFSETS = 324;
  private static final int TILE_BYTE_COUNTS = 325;
  private static final int EXTRA_SAMPLES = 338;
  private static final int SAMPLE_FORMAT = 339;
  private static final int JPEG_TABLES = 347;
  private static final int YCBCR_SUBSAMPLING = 530;
  private static final int YCBCR_POSITIONING = 531;
  private static final int XMP = 700;

  private static final int WHITE_IS_ZERO = 0;
  private static final int RGB = 2;
  private static final int PALETTE = 3;
  private static final int CMYK = 5;
  private static final int YCBCR = 6;

  /** None, three of CCITT, LZW, JPEG, Deflate under two numbers, PackBits. */
  private static final Set<Integer> COMPRESSIONS =
      Set.of(
          TiffLengths.UNCOMPRESSED,
          2,
          3,
          4,
          TiffLengths.LZW,
          TiffLengths.JPEG,
          TiffLengths.DEFLATE,
          TiffLengths.PACK_BITS,
          TiffLengths.OLD_DEFLATE);

  private final byte[] tiff;
  private final TiffDirectory tags;
  private final int width;
  private final int height;
  private final int compression;
  private final int photometric;
  private final int samples;
  private final int bits;
  private final int format;
  private final int extra;

  private TiffPicture(byte[] tiff) throws IOException {
    this.tiff = tiff;
    tags = TiffDirectory.read(tiff);
    long wide = tags.value(WIDTH, 0);
    long tall = tags.value(LENGTH, 0);
    PictureDecoder.checkSize(wide, tall);
    width = (int) wide;
    height = (int) tall;
    compression = small(COMPRESSION, TiffLengths.UNCOMPRESSED);
    photometric = small(PHOTOMETRIC, WHITE_IS_ZERO);
    samples = small(SAMPLES_PER_PIXEL, 1);
    format = small(SAMPLE_FORMAT, 1);
    bits = small(BITS_PER_SAMPLE, 1);
    long[] extras = tags.values(EXTRA_SAMPLES);
    extra = extras.length == 0 ? -1 : (int) Math.min(extras[0], 1000);
  }

  static RgbImage decode(byte[] encoded) throws IOException {
    TiffPicture tiff = new TiffPicture(encoded);
    String mode = tiff.mode();
    Raster raster = PictureDecoder.image("tiff", "TIFF", tiff.plain()).getRaster();
    return Orientation.apply(tiff.toRgb(raster, mode), tiff.tags, tiff.tags.bytes(XMP));
  }

  private int small(int tag, int absent) {
    return Math.clamp(tags.value(tag, absent), 0, Integer.MAX_VALUE);
  }

  /** Pillow's mode for such a picture; refuses what it does not know either. */
  private String mode() throws IOException {
    if (!COMPRESSIONS.contains(compression)) {
      throw new IOException(
          "TIFF with compression %d; supported are none, LZW, Deflate, PackBits, CCITT and JPEG"
              .formatted(compression));
    }
    long[] depths = tags.values(BITS_PER_SAMPLE);
    boolean even = Arrays.stream(depths).limit(samples).allMatch(depth -> depth == bits);
    if (compression == TiffLengths.JPEG
        && (samples == 2 || samples > 3 || photometric == PALETTE)) {
      throw new IOException(
          "TIFF with JPEG compression of %d samples, photometric interpretation %d; convert it to PNG"
              .formatted(samples, photometric));
    }
    boolean one = samples == 1 || (samples == 2 && extra >= 0);
    String mode = null;
    if (even && format == 1 && bits <= 8) {
      mode =
          switch (photometric) {
            case WHITE_IS_ZERO, 1 ->
                samples == 1
                    ? bits == 1 ? "1" : "L"
                    : one && bits == 8 && photometric == 1 ? "LA" : null;
            case RGB -> bits == 8 ? samples == 3 ? "RGB" : coloursWithExtra() : null;
            case PALETTE -> samples == 1 ? "P" : one && bits == 8 ? "PA" : null;
            case CMYK -> bits == 8 && samples >= 4 && samples <= 6 ? "CMYK" : null;
            case YCBCR ->
                compression == TiffLengths.JPEG && bits == 8
                    ? samples == 3 ? "RGB" : samples == 1 ? "L" : null
                    : null;
            default -> null;
          };
      if (mode != null && bits != 1 && bits != 2 && bits != 4 && bits != 8) {
        mode = null;
      }
    } else if (even && format == 1 && bits == 16) {
      mode =
          switch (photometric) {
            case WHITE_IS_ZERO -> samples == 1 && !tags.bigEndian() ? "I;16" : null;
            case 1 -> samples == 1 ? "I;16" : null;
            case RGB -> samples == 3 ? "RGB" : samples == 4 ? coloursWithExtra() : null;
            case CMYK -> samples == 4 ? "CMYK" : null;
            default -> null;
          };
    } else if (samples == 1 && photometric == 1 && (format == 1 || format == 2)) {
      mode = bits == 8 ? "L" : bits == 16 || bits == 32 ? "I" : null;
    } else if (samples == 1 && photometric <= 1 && format == 3 && bits == 32) {
      mode = "F";
    }
    if (mode == null) {
      throw new IOException(
          "TIFF with %s of %d bits, sample format %d and photometric interpretation %d; convert it to PNG"
              .formatted(
                  samples == 1 ? "1 sample" : samples + " samples", bits, format, photometric));
    }
    if (photometric == PALETTE && tags.values(COLOR_MAP).length < 3 << bits) {
      throw new IOException("the TIFF is damaged: it has no colours for its palette");
    }
    return mode;
  }

  private String coloursWithExtra() {
    return samples > 3 && samples <= 6 && extra != 0 ? "RGBA" : "RGB";
  }

  /** The file with what the samples need to be unpacked, after checks of every place and size. */
  private byte[] plain() throws IOException {
    Map<Integer, Field> kept = new TreeMap<>();
    for (int tag :
        new int[] {FILL_ORDER, PLANAR, PREDICTOR, YCBCR_SUBSAMPLING, YCBCR_POSITIONING}) {
      if (tags.has(tag)) {
        kept.put(tag, Field.shorts(tags.values(tag)));
      }
    }
    if (tags.has(T4_OPTIONS)) {
      kept.put(T4_OPTIONS, Field.longs(tags.value(T4_OPTIONS, 0)));
    }
    if (compression == TiffLengths.JPEG && tags.bytes(JPEG_TABLES).length > 0) {
      kept.put(JPEG_TABLES, Field.bytes(tags.bytes(JPEG_TABLES)));
    }
    kept.put(WIDTH, Field.longs(width));
    kept.put(LENGTH, Field.longs(height));
    kept.put(COMPRESSION, Field.shorts(compression));
    kept.put(SAMPLES_PER_PIXEL, Field.shorts(samples));
    kept.put(BITS_PER_SAMPLE, Field.shorts(repeated(bits)));
    kept.put(SAMPLE_FORMAT, Field.shorts(repeated(format)));
    // Levels of white and indices of a palette are for this class to interpret.
    int colours = photometric == CMYK ? 4 : photometric == RGB || photometric == YCBCR ? 3 : 1;
    kept.put(PHOTOMETRIC, Field.shorts(colours == 1 || samples == 1 ? 1 : photometric));
    if (samples > colours) {
      kept.put(EXTRA_SAMPLES, Field.shorts(new long[samples - colours]));
    }
    addParts(kept);
    return tags.withOnly(kept);
  }

  private long[] repeated(long value) {
    long[] values = new long[samples];
    Arrays.fill(values, value);
    return values;
  }

  /** Strips or tiles: as many as the size needs, all of them within the file. */
  private void addParts(Map<Integer, Field> kept) throws IOException {
    boolean tiled = tags.has(TILE_OFFSETS);
    long partWidth = tiled ? tags.value(TILE_WIDTH, 0) : width;
    long partHeight = tiled ? tags.value(TILE_LENGTH, 0) : tags.value(ROWS_PER_STRIP, height);
    if (!tiled) {
      partHeight = Math.min(partHeight, height);
    }
    PictureDecoder.checkSize(partWidth, partHeight);
    long across = (width + partWidth - 1) / partWidth;
    long down = (height + partHeight - 1) / partHeight;
    boolean planes = tags.value(PLANAR, 1) == 2 && samples > 1;
    long needed = across * down * (planes ? samples : 1);
    long[] offsets = tags.values(tiled ? TILE_OFFSETS : STRIP_OFFSETS);
    long[] counts = tags.values(tiled ? TILE_BYTE_COUNTS : STRIP_BYTE_COUNTS);
    if (counts.length == 0 && compression == TiffLengths.UNCOMPRESSED && offsets.length == 1) {
      counts = new long[] {tiff.length - offsets[0]};
    }
    if (offsets.length < needed || counts.length < needed) {
      throw new IOException(
          "the TIFF has %d of the %d %s that its size needs"
              .formatted(
                  Math.min(offsets.length, counts.length), needed, tiled ? "tiles" : "strips"));
    }
    for (int i = 0; i < needed; i++) {
      if (offsets[i] < 0 || counts[i] < 0 || offsets[i] > tiff.length - counts[i]) {
        throw new IOException("the TIFF is cut off: its pixels lie behind its end");
      }
      long rows = tiled ? partHeight : Math.min(partHeight, height - i % down * partHeight);
      long row = (partWidth * bits * (planes ? 1 : samples) + 7) / 8;
      if (!TiffLengths.enough(tiff, (int) offsets[i], (int) counts[i], compression, row * rows)) {
        throw new IOException("the TIFF is cut off: it has fewer pixels than its size says");
      }
    }
    kept.put(
        tiled ? TILE_OFFSETS : STRIP_OFFSETS, Field.longs(Arrays.copyOf(offsets, (int) needed)));
    kept.put(
        tiled ? TILE_BYTE_COUNTS : STRIP_BYTE_COUNTS,
        Field.longs(Arrays.copyOf(counts, (int) needed)));
    if (tiled) {
      kept.put(TILE_WIDTH, Field.longs(partWidth));
      kept.put(TILE_LENGTH, Field.longs(partHeight));
    } else {
      kept.put(ROWS_PER_STRIP, Field.longs(partHeight));
    }
  }

  private RgbImage toRgb(Raster raster, String mode) throws IOException {
    if (raster.getWidth() != width || raster.getHeight() != height) {
      throw new IOException("the TIFF is damaged: its sizes contradict each other");
    }
    int bands = raster.getNumBands();
    int[] row = new int[width * bands];
    float[] floats = mode.equals("F") ? new float[width * bands] : new float[0];
    byte[] rgb = new byte[Math.toIntExact(3L * width * height)];
    long[] palette = tags.values(COLOR_MAP);
    for (int y = 0; y < height; y++) {
      int to = 3 * y * width;
      if (mode.equals("F")) {
        raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, floats);
        for (int x = 0; x < width; x++) {
          Pillow.grey((int) Math.clamp(floats[x * bands], 0f, 255f), rgb, to + 3 * x);
        }
        continue;
      }
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        pixel(mode, row, x * bands, palette, rgb, to + 3 * x);
      }
    }
    return new RgbImage(width, height, rgb, mode);
  }

  private void pixel(String mode, int[] row, int from, long[] palette, byte[] rgb, int to) {
    switch (mode) {
      case "1", "L", "LA" -> {
        int level = row[from] * 255 / ((1 << bits) - 1);
        Pillow.grey(photometric == WHITE_IS_ZERO ? 255 - level : level, rgb, to);
      }
      case "I;16", "I" -> Pillow.grey(Math.clamp(row[from], 0, 255), rgb, to);
      case "P", "PA" -> {
        int colours = palette.length / 3;
        for (int c = 0; c < 3 && row[from] < colours; c++) {
          rgb[to + c] = (byte) (palette[c * colours + row[from]] >> 8);
        }
      }
      case "CMYK" ->
          Pillow.cmyk(
              high(row[from]),
              high(row[from + 1]),
              high(row[from + 2]),
              high(row[from + 3]),
              rgb,
              to);
      default -> {
        boolean multiplied = mode.equals("RGBA") && extra == 1;
        int alpha = multiplied ? high(row[from + 3]) : 255;
        for (int c = 0; c < 3; c++) {
          rgb[to + c] = (byte) Pillow.unmultiplied(high(row[from + c]), alpha);
        }
      }
    }
  }

  private int high(int sample) {
    return bits == 16 ? sample >> 8 : sample;
  }
}
