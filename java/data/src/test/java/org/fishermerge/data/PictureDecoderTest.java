package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class PictureDecoderTest {
  /** Colour types 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha. */
  @ParameterizedTest(name = "colour type {0}, {1} bits, interlaced {2}")
  @CsvSource({
    "0, 1, false", "0, 1, true", "0, 2, false", "0, 4, true", "0, 8, false", "0, 16, false",
    "0, 16, true", "2, 8, false", "2, 8, true", "2, 16, false", "3, 1, false", "3, 2, true",
    "3, 4, false", "3, 8, true", "4, 8, false", "4, 16, true", "6, 8, true", "6, 16, false"
  })
  void readsEveryKindOfPngAsPillowDoes(int colorType, int bits, boolean interlaced)
      throws IOException {
    int width = 13;
    int height = 9;
    int max = (1 << bits) - 1;
    Pictures.Samples samples = (x, y, c) -> (x * 7919 + y * 104_729 + c * 31) & max;
    byte[] palette = null;
    if (colorType == 3) {
      palette = new byte[3 << bits];
      for (int i = 0; i < palette.length; i++) {
        palette[i] = (byte) (i * 37 + 11);
      }
    }
    RgbImage image =
        PictureDecoder.decode(
            Pictures.png(width, height, bits, colorType, interlaced, palette, samples));

    byte[] expected = new byte[3 * width * height];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        for (int c = 0; c < 3; c++) {
          boolean grey = colorType == 0 || colorType == 4;
          int sample = samples.at(x, y, colorType == 3 || grey ? 0 : c);
          int value;
          if (palette != null) {
            value = palette[3 * sample + c];
          } else if (bits == 16) {
            value = colorType == 0 ? Math.min(sample, 255) : sample / 256;
          } else {
            value = sample * 255 / max;
          }
          expected[3 * (y * width + x) + c] = (byte) value;
        }
      }
    }
    assertThat(image.width()).isEqualTo(width);
    assertThat(image.height()).isEqualTo(height);
    assertThat(image.pixels()).isEqualTo(expected);
  }

  @Test
  void paletteIndexOutsideThePaletteIsBlack() throws IOException {
    byte[] palette = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    RgbImage image =
        PictureDecoder.decode(Pictures.png(4, 1, 2, 3, false, palette, (x, y, c) -> x));
    assertThat(image.pixels()).containsExactly(1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0);
  }

  @ParameterizedTest
  @ValueSource(strings = {"landscape_640x427.jpg", "progressive_500x375.jpg", "gray_64x64.jpg"})
  void applicationSegmentsDoNotChangeAJpeg(String name) throws IOException {
    byte[] jpeg = Files.readAllBytes(Golden.path("images/" + name));
    byte[] pixels = PictureDecoder.decode(jpeg).pixels();
    int afterJfif = 4 + (((jpeg[4] & 0xff) << 8) | (jpeg[5] & 0xff));
    byte[] withoutJfif = Arrays.copyOfRange(jpeg, afterJfif, jpeg.length);

    // A segment that says it is a colour profile, and is not one.
    byte[] profile = segment(0xe2, "ICC_PROFILE\0\1\1 this is no profile");
    byte[] exif = segment(0xe1, "Exif\0\0MM\0*");
    for (byte[] inserted : new byte[][] {new byte[0], profile, exif, segment(0xfe, "comment")}) {
      assertThat(PictureDecoder.decode(spliced(jpeg, inserted, withoutJfif)).pixels())
          .isEqualTo(pixels);
    }
  }

  @Test
  void anAdobeSegmentTurnsColorConversionOff() throws IOException {
    byte[] jpeg = Files.readAllBytes(Golden.path("images/landscape_640x427.jpg"));
    int afterJfif = 4 + (((jpeg[4] & 0xff) << 8) | (jpeg[5] & 0xff));
    byte[] rest = Arrays.copyOfRange(jpeg, afterJfif, jpeg.length);
    byte[] rgb =
        PictureDecoder.decode(spliced(jpeg, segment(0xee, "Adobe\0\144\0\0\0\0\0"), rest)).pixels();
    byte[] converted = PictureDecoder.decode(jpeg).pixels();
    int worst = 0;
    for (int i = 0; i < rgb.length; i += 3) {
      // JFIF's YCbCr to RGB, for the red channel.
      double red = (rgb[i] & 0xff) + 1.402 * ((rgb[i + 2] & 0xff) - 128);
      int expected = Math.clamp(Math.round(red), 0, 255);
      worst = Math.max(worst, Math.abs(expected - (converted[i] & 0xff)));
    }
    assertThat(worst).isLessThanOrEqualTo(1);
  }

  @Test
  void refusesBombsBeforeDecoding() throws IOException {
    assertThatThrownBy(() -> PictureDecoder.decode(Pictures.pngClaiming(50_000, 50_000)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("50000 x 50000 pixels");
    assertThatThrownBy(() -> PictureDecoder.decode(Pictures.pngClaiming(-1, -1)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("4294967295");
    assertThatThrownBy(() -> PictureDecoder.decode(Pictures.pngClaiming(0, 5)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("0x5");
    byte[] jpeg = Files.readAllBytes(Golden.path("images/gray_64x64.jpg"));
    int frame = indexOfMarker(jpeg, 0xc0);
    Arrays.fill(jpeg, frame + 5, frame + 9, (byte) 0xff);
    assertThatThrownBy(() -> PictureDecoder.decode(jpeg))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("65535 x 65535 pixels");
  }

  @ParameterizedTest(name = "{0}")
  @ValueSource(
      strings = {
        "tiny_32x32.png",
        "palette_200x300.png",
        "rgba_300x200.png",
        "gray_64x64.jpg",
        "landscape_640x427.jpg",
        "progressive_500x375.jpg"
      })
  void refusesTruncatedPicturesWhereverTheyEnd(String name) throws IOException {
    byte[] whole = Files.readAllBytes(Golden.path("images/" + name));
    int step = Math.max(1, whole.length / 61);
    for (int length = 0; length < whole.length; length += step) {
      byte[] part = Arrays.copyOf(whole, length);
      assertThatThrownBy(() -> PictureDecoder.decode(part))
          .as("%s cut to %d bytes", name, length)
          .isInstanceOf(IOException.class);
    }
  }

  /** Bits that the end lacks may be none of the picture; then it is the same picture. */
  @ParameterizedTest(name = "{0}")
  @ValueSource(
      strings = {
        "jpeg/cmyk adobe",
        "jpeg/440 27x29",
        "gif/palette",
        "gif/offset",
        "bmp/bits 8",
        "bmp/bits 24",
        "bmp/rle8",
        "tiff/RGB raw",
        "tiff/RGB tiff_lzw",
        "tiff/P packbits",
        "tiff/CMYK tiff_adobe_deflate",
        "tiff/tiles deflate",
        "tiff/jpeg rgb",
        "tiff/group4",
        "webp/lossy 33x27",
        "webp/lossless alpha",
        "webp/animated offset"
      })
  void readsNoPartOfACutOffPicture(String name, @TempDir Path folder) throws IOException {
    try (SafetensorsFile oracle = PictureOracleTest.open("pictures.safetensors.gz", folder)) {
      byte[] whole = oracle.segment(name + " bytes").toArray(ValueLayout.JAVA_BYTE);
      byte[] expected = oracle.segment(name + " rgb").toArray(ValueLayout.JAVA_BYTE);
      int refused = 0;
      int step = Math.max(1, whole.length / 61);
      for (int length = 0; length < whole.length; length += step) {
        byte[] part = Arrays.copyOf(whole, length);
        try {
          assertThat(PictureDecoder.decode(part).pixels())
              .as("%s cut to %d bytes", name, length)
              .isEqualTo(expected);
        } catch (IOException e) {
          assertThat(e.getMessage()).isNotBlank().doesNotContain("Exception");
          refused++;
        }
      }
      assertThat(refused).isGreaterThan(40);
    }
  }

  /** Strips within the file, but with too little in them. */
  @ParameterizedTest(name = "{0}")
  @ValueSource(strings = {"tiff/RGB tiff_lzw", "tiff/P packbits", "tiff/CMYK tiff_adobe_deflate"})
  void refusesShortStrips(String name, @TempDir Path folder) throws IOException {
    try (SafetensorsFile oracle = PictureOracleTest.open("pictures.safetensors.gz", folder)) {
      byte[] whole = oracle.segment(name + " bytes").toArray(ValueLayout.JAVA_BYTE);
      TiffDirectory tags = TiffDirectory.read(whole);
      long count = tags.value(279, 0);
      int field = indexOf(whole, new byte[] {0x17, 1, 4, 0, 1, 0, 0, 0});
      assertThat(count).isPositive();
      whole[field + 8] = (byte) (count / 2);
      whole[field + 9] = (byte) ((count / 2) >> 8);
      assertThatThrownBy(() -> PictureDecoder.decode(whole))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("fewer pixels");
    }
  }

  /** What is large by its header only, in every format. */
  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "gif/palette, 6, 2",
    "bmp/bits 24, 18, 4",
    "webp/animated offset, 24, 3",
    "tiff/8 bit rgb le, 124, 4"
  })
  void refusesHostileSizesInEveryFormat(String name, int at, int size, @TempDir Path folder)
      throws IOException {
    try (SafetensorsFile oracle = PictureOracleTest.open("pictures.safetensors.gz", folder)) {
      byte[] picture = oracle.segment(name + " bytes").toArray(ValueLayout.JAVA_BYTE);
      int second = name.startsWith("tiff") ? at + 12 : at + size;
      Arrays.fill(picture, at, at + size, (byte) 0x7f);
      Arrays.fill(picture, second, second + size, (byte) 0x7f);
      assertThatThrownBy(() -> PictureDecoder.decode(picture))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("more than the");
    }
  }

  private static int indexOf(byte[] bytes, byte[] wanted) {
    for (int i = 0; i + wanted.length <= bytes.length; i++) {
      if (Arrays.equals(bytes, i, i + wanted.length, wanted, 0, wanted.length)) {
        return i;
      }
    }
    throw new AssertionError("not there");
  }

  @Test
  void refusesADamagedPng() throws IOException {
    byte[] png = Files.readAllBytes(Golden.path("images/tiny_32x32.png"));
    png[png.length / 2] ^= 1;
    assertThatThrownBy(() -> PictureDecoder.decode(png))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("checksum");
  }

  @Test
  void brokenJpegHeadersAreIoExceptions() throws IOException {
    byte[] jpeg = Files.readAllBytes(Golden.path("images/gray_64x64.jpg"));
    int scan = indexOfMarker(jpeg, 0xda);
    for (int i = 2; i < scan + 12; i++) {
      byte[] broken = jpeg.clone();
      broken[i] ^= (byte) 0xa5;
      try {
        PictureDecoder.decode(broken);
      } catch (IOException e) {
        assertThat(e.getMessage()).as("byte %d", i).isNotBlank();
      }
    }
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "....ftypavif, AVIF",
    "....ftypheic, HEIC",
    "P6 3 3 255 abc, PNM",
    "'<svg xmlns=>', SVG",
    "8BPS, Photoshop",
    "<html>not found</html>, 3c 68 74 6d 6c",
    "'', no bytes at all"
  })
  void namesWhatIsNoKnownPicture(String head, String named) {
    assertThatThrownBy(() -> PictureDecoder.decode(head.getBytes(StandardCharsets.ISO_8859_1)))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("not a PNG, JPEG, WebP, GIF, BMP or TIFF picture")
        .hasMessageContaining(named);
  }

  private static int indexOfMarker(byte[] jpeg, int low) {
    int at = 2;
    while ((jpeg[at + 1] & 0xff) != low) {
      at += 2 + (((jpeg[at + 2] & 0xff) << 8) | (jpeg[at + 3] & 0xff));
    }
    return at;
  }

  private static byte[] segment(int low, String body) {
    byte[] bytes = body.getBytes(StandardCharsets.ISO_8859_1);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(0xff);
    out.write(low);
    out.write((bytes.length + 2) >> 8);
    out.write(bytes.length + 2);
    out.writeBytes(bytes);
    return out.toByteArray();
  }

  private static byte[] spliced(byte[] jpeg, byte[] inserted, byte[] rest) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(jpeg, 0, 2);
    out.writeBytes(inserted);
    out.writeBytes(rest);
    return out.toByteArray();
  }
}
