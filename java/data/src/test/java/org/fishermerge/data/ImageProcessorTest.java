package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelFolder;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ImageProcessorTest {
  private static final double[] MEAN = {0.48145466, 0.4578275, 0.40821073};
  private static final double[] STD = {0.26862954, 0.26130258, 0.27577711};

  @TempDir Path folder;

  static String[] pictures() throws IOException {
    try (var files = Files.list(Golden.path("images"))) {
      return files.map(file -> file.getFileName().toString()).sorted().toArray(String[]::new);
    }
  }

  @ParameterizedTest
  @MethodSource("pictures")
  void matchesTransformers(String name) throws IOException {
    float[] values =
        ImageProcessor.clip(224).process(Files.readAllBytes(Golden.path("images/" + name)));
    try (SafetensorsFile golden =
        SafetensorsFile.open(Golden.path("clip_pixel_values.safetensors"))) {
      MemorySegment expected = golden.segment(name);
      assertThat(expected.byteSize()).isEqualTo(values.length);
      int plane = 224 * 224;
      for (int i = 0; i < values.length; i++) {
        // Equal, not near: the JDK's JPEG decoder has Pillow's bits, and so has the resampler.
        int level = expected.get(ValueLayout.JAVA_BYTE, i) & 0xff;
        float value = ((float) (level / 255.0) - (float) MEAN[i / plane]) / (float) STD[i / plane];
        assertThat(values[i]).as("%s value %d", name, i).isEqualTo(value);
      }
    }
  }

  /**
   * Sums over all input samples in floating point, without windows, passes in 8 bits as defined.
   */
  @ParameterizedTest(name = "{0}x{1} to {2}x{3}")
  @CsvSource({
    "1, 1, 5, 7",
    "7, 5, 7, 5",
    "7, 5, 3, 5",
    "7, 5, 7, 2",
    "13, 29, 5, 11",
    "31, 17, 64, 33",
    "100, 3, 9, 40",
    "257, 129, 31, 16",
    "2, 300, 3, 7"
  })
  void resamplesLikeTheFormula(int width, int height, int toWidth, int toHeight) {
    long seed = 20_260_101L * width + height;
    byte[] pixels = new byte[3 * width * height];
    new Random(seed).nextBytes(pixels);
    for (int i = 0; i < pixels.length; i += 5) {
      pixels[i] = (byte) (i % 2 == 0 ? 255 : 0); // so that overshoot must be clipped
    }
    RgbImage resized =
        Resampler.BICUBIC.resize(new RgbImage(width, height, pixels), toWidth, toHeight);
    byte[] expected =
        bruteForce(bruteForce(pixels, height, width, 3, toWidth), 1, height, 3 * toWidth, toHeight);

    assertThat(resized.width()).isEqualTo(toWidth);
    assertThat(resized.height()).isEqualTo(toHeight);
    int different = 0;
    for (int i = 0; i < expected.length; i++) {
      int distance = Math.abs((expected[i] & 0xff) - (resized.pixels()[i] & 0xff));
      assertThat(distance).as("seed %d, byte %d", seed, i).isLessThanOrEqualTo(1);
      different += distance;
    }
    // Fixed point and floating point may round a tie apart, and no more.
    assertThat(different).as("seed %d", seed).isLessThanOrEqualTo(1 + expected.length / 500);
  }

  /** Resamples the middle axis of [outer, size, inner]. */
  private static byte[] bruteForce(byte[] in, int outer, int size, int inner, int to) {
    if (size == to) {
      return in;
    }
    byte[] out = new byte[outer * to * inner];
    double scale = (double) size / to;
    double stretch = Math.max(scale, 1);
    for (int o = 0; o < outer; o++) {
      for (int j = 0; j < to; j++) {
        for (int c = 0; c < inner; c++) {
          double sum = 0;
          double total = 0;
          for (int i = 0; i < size; i++) {
            double weight = keys((i + 0.5 - (j + 0.5) * scale) / stretch);
            sum += weight * (in[(o * size + i) * inner + c] & 0xff);
            total += weight;
          }
          out[(o * to + j) * inner + c] = (byte) Math.clamp(Math.round(sum / total), 0, 255);
        }
      }
    }
    return out;
  }

  private static double keys(double x) {
    double d = Math.abs(x);
    if (d < 1) {
      return 1.5 * d * d * d - 2.5 * d * d + 1;
    }
    return d < 2 ? -0.5 * d * d * d + 2.5 * d * d - 4 * d + 2 : 0;
  }

  @Test
  void readsTheGoldenConfiguration() {
    Path model = Golden.path("clip-tiny/pretrained");
    ImageProcessor processor = ImageProcessor.ofModel(new ModelFolder(model)::find, model, 32);
    assertThat(processor.warnings()).isEmpty();
    assertThat(processor.width()).isEqualTo(32);
    assertThat(processor.height()).isEqualTo(32);
    byte[] png = Pictures.png(50, 41, (x, y, c) -> 5 * x + y + c);
    assertThat(processor.process(png)).isEqualTo(ImageProcessor.clip(32).process(png));
  }

  @Test
  void absentKeysAndOldSpellingsAreClips() throws IOException {
    byte[] png = Pictures.png(230, 260, (x, y, c) -> x ^ y ^ c);
    float[] expected = ImageProcessor.clip(224).process(png);
    for (String text :
        new String[] {
          "{}",
          "{\"size\": 224, \"crop_size\": 224, \"resample\": 3}",
          "{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"do_resize\": true}"
        }) {
      assertThat(processor(text).process(png)).as(text).isEqualTo(expected);
    }
  }

  @Test
  void leavesOutTheStepsThatAreSwitchedOff() throws IOException {
    byte[] png = Pictures.png(5, 4, (x, y, c) -> 10 * x + 60 * y + c);
    float[] raw =
        processor(
                "{\"do_resize\": false, \"crop_size\": {\"height\": 2, \"width\": 3},"
                    + " \"do_rescale\": false, \"do_normalize\": false}")
            .process(png);
    // Offset floor((4-2)/2) = 1 row and floor((5-3)/2) = 1 column.
    assertThat(raw)
        .containsExactly(
            70, 80, 90, 130, 140, 150, 71, 81, 91, 131, 141, 151, 72, 82, 92, 132, 142, 152);
    float[] rescaled =
        processor(
                "{\"do_center_crop\": false, \"size\": {\"height\": 4, \"width\": 5},"
                    + " \"rescale_factor\": 0.5, \"image_mean\": [1, 1, 1], \"image_std\": [2, 2, 2]}")
            .process(png);
    assertThat(rescaled[6]).isEqualTo((70 * 0.5f - 1) / 2);
  }

  @Test
  void padsWhatIsSmallerThanTheCropWithZeroPixels() throws IOException {
    float[] values =
        processor(
                "{\"do_resize\": false, \"crop_size\": {\"height\": 3, \"width\": 4},"
                    + " \"do_rescale\": false, \"image_mean\": [1, 1, 1], \"image_std\": [1, 1, 1]}")
            .process(Pictures.png(1, 6, (x, y, c) -> 10 * y + 11));
    // Left margin ceil(3/2) = 2; rows 1 to 3.
    assertThat(Arrays.copyOf(values, 12))
        .containsExactly(-1, -1, 20, -1, -1, -1, 30, -1, -1, -1, 40, -1);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"resample\": 6} | resample = 6 | bilinear",
        "{\"resample\": \"3\"} | resample = \"3\" | bicubic",
        "{\"resample\": null} | resample = null | bicubic",
        "{\"size\": 0} | size = 0 | pixels",
        "{\"size\": 1000000} | size = 1000000 | pixels",
        "{\"size\": 22.5} | size = 22.5 | [height, width]",
        "{\"size\": {\"longest_edge\": 5}} | longest_edge | shortest_edge",
        "{\"size\": {\"height\": 5, \"width\": null}} | size | pixels",
        "{\"size\": null} | size = null | pixels",
        "{\"crop_size\": {\"height\": 5}} | crop_size | pixels",
        "{\"crop_size\": {\"shortest_edge\": 5}} | crop_size | \"height\"",
        "{\"do_resize\": 2} | do_resize = 2 | true or false",
        "{\"do_center_crop\": \"false\"} | do_center_crop = \"false\" | true or false",
        "{\"do_pad\": true, \"pad_size\": 0} | pad_size = 0 | pixels",
        "{\"default_to_square\": 3} | default_to_square = 3 | true or false",
        "{\"use_square_size\": 3} | use_square_size = 3 | true or false",
        "{\"rescale_factor\": 0} | rescale_factor = 0 | positive",
        "{\"rescale_factor\": NaN} | rescale_factor = \"NaN\" | positive",
        "{\"image_mean\": [1, 2]} | image_mean | three",
        "{\"image_mean\": [1, 2, null]} | image_mean | three",
        "{\"image_mean\": null} | image_mean = null | three",
        "{\"image_std\": [1, 2, 0]} | image_std | above zero",
        "{\"image_std\": Infinity} | image_std = \"Infinity\" | number",
        "{\"input_data_format\": \"channels_first\"} | input_data_format | channels last",
        "{\"image_processor_type\": \"ConvNextImageProcessor\"} | ConvNextImageProcessor | not supported",
        "{\"feature_extractor_type\": \"DetrFeatureExtractor\"} | DetrImageProcessor | not supported",
        "{\"image_processor_type\": 5} | image processor 5 | not supported",
        "{\"image_processor_type\": \"ViTImageProcessor\", \"do_center_crop\": true} | do_center_crop | crop_size",
        "{\"size\": 1, \"size\": 2} | not readable as JSON | duplicate key",
        "[] | JSON object | preprocessor_config",
        "version https://git-lfs | not readable as JSON | preprocessor_config"
      })
  void refusesWhatItCannotDo(String text, String named, String expected) {
    assertThatThrownBy(() -> processor(text))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(named)
        .hasMessageContaining(expected)
        .hasMessageContaining("preprocessor_config.json");
  }

  @Test
  void refusesAProcessorThatIsNoObject() throws IOException {
    Files.writeString(folder.resolve("processor_config.json"), "{\"image_processor\": []}");
    assertThatThrownBy(() -> processor("{}"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("processor_config.json: image_processor = []; expected an object");
  }

  @Test
  void saysWhatItDoesNotKnow() throws IOException {
    Files.writeString(
        folder.resolve("processor_config.json"), "{\"image_processor\": {}, \"sepia\": 1}");
    assertThat(processor("{\"tint\": 1}").warnings())
        .singleElement()
        .asString()
        .contains("processor_config.json", "sepia");
    Files.delete(folder.resolve("processor_config.json"));
    assertThat(processor("{\"tint\": 1, \"blur\": 2}").warnings())
        .singleElement()
        .asString()
        .contains("preprocessor_config.json", "blur", "tint");
    Files.delete(folder.resolve("preprocessor_config.json"));
    ImageProcessor absent = ImageProcessor.ofModel(new ModelFolder(folder)::find, folder, 64);
    assertThat(absent.warnings())
        .singleElement()
        .asString()
        .contains(folder.toString(), "no picture settings", "64 pixels");
    assertThat(absent.width()).isEqualTo(64);
  }

  /** Each key that the tests here and the oracle turn is stated as honoured, and the other way. */
  @Test
  void everyHonouredKeyIsTested() throws IOException {
    String tests = String.join(" ", PictureSettingsOracleTest.settingsText());
    ImageProcessor.SETTINGS
        .treatments()
        .forEach((key, treatment) -> {
          if (treatment == SettingsKeys.Treatment.HONOURED) {
            assertThat(tests).contains("\"" + key + "\":");
          }
        });
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 100_000})
  void refusesPicturesThatResizeToTooMuch(int height) {
    byte[] thin = Pictures.png(height == 1 ? 100_000 : 1, height, (x, y, c) -> 0);
    assertThatThrownBy(() -> ImageProcessor.clip(224).process(thin))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("too long and thin");
  }

  private ImageProcessor processor(String json) throws IOException {
    Files.writeString(folder.resolve("preprocessor_config.json"), json);
    return ImageProcessor.ofModel(new ModelFolder(folder)::find, folder, 224);
  }
}
