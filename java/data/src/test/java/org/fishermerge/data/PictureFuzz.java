package org.fishermerge.data;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import javax.imageio.ImageIO;
import org.fishermerge.testkit.FuzzTarget;

/** An encoded picture. What it claims to be large is refused before memory is taken for it. */
public final class PictureFuzz implements FuzzTarget {
  private static final PictureFuzz TARGET = new PictureFuzz();

  /** A small picture, lossless and lossy. */
  private static final List<String> WEBP =
      List.of(
          "UklGRjAAAABXRUJQVlA4TCMAAAAvCAABAM1lRP9jFxH9D4OCtm2YHhjjD/UjmOICEjEBb2k8AQA=",
          "UklGRjgAAABXRUJQVlA4ICwAAACwAQCdASoJAAUAAsBMJagCdAEOtOvAAP70X9fVspcSv3SP/50B3+9lz2NAAA==");

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    List<byte[]> seeds = new ArrayList<>();
    for (int type :
        new int[] {
          BufferedImage.TYPE_INT_RGB,
          BufferedImage.TYPE_BYTE_GRAY,
          BufferedImage.TYPE_BYTE_INDEXED,
          BufferedImage.TYPE_BYTE_BINARY
        }) {
      BufferedImage image = new BufferedImage(9, 5, type);
      for (int i = 0; i < 45; i++) {
        image.setRGB(i % 9, i / 9, 0x010305 * i);
      }
      for (String format : List.of("png", "jpeg", "gif", "bmp", "tiff")) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
          ImageIO.write(image, format, out);
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
        seeds.add(out.toByteArray());
      }
    }
    WEBP.forEach(webp -> seeds.add(Base64.getDecoder().decode(webp)));
    return seeds;
  }

  @Override
  public void run(byte[] input) {
    try {
      RgbImage image = PictureDecoder.decode(input);
      long pixels = (long) image.width() * image.height();
      if (pixels < 1 || pixels > PictureDecoder.MAX_PIXELS) {
        throw new AssertionError(image.width() + " x " + image.height());
      }
    } catch (IOException e) {
      if (e.getMessage() == null || e.getMessage().isBlank()) {
        throw new AssertionError("no message", e);
      }
    }
  }
}
