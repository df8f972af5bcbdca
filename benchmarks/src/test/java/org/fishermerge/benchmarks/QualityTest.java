package org.fishermerge.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.imageio.ImageIO;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.demo.PictureTask;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the quality benchmark computes, by hand, and the data that it reads, made here. */
final class QualityTest {
  private static final int SIDE = PictureTask.SIDE;

  @TempDir Path folder;

  /** By NumPy: the correlation of ranks in which equals share their mean. */
  @Test
  void ranksShareTies() {
    List<Double> x = List.of(1.0, 2.0, 3.0, 4.0, 5.0);
    assertThat(RankCorrelation.of(x, List.of(1.0, 2.0, 4.0, 5.0, 3.0)))
        .isCloseTo(0.7, within(1e-12));
    assertThat(RankCorrelation.of(x, List.of(5.0, 4.0, 3.0, 2.0, 1.0)))
        .isCloseTo(-1, within(1e-12));
    assertThat(RankCorrelation.of(List.of(1.0, 2.0, 3.0, 4.0), List.of(10.0, 20.0, 20.0, 40.0)))
        .isCloseTo(0.9486832980505138, within(1e-12));
  }

  /** p = (1/2, 1/4, 1/4) against q = (1/4, 1/2, 1/4): 1/2 ln 2 - 1/4 ln 2. */
  @Test
  void divergesAndScoresByHand() {
    float ln2 = (float) Math.log(2);
    Predictions own = new Predictions(new float[] {3 + ln2, 3, 3, 0, 0, 0}, new long[] {0, 2});
    Predictions merged = new Predictions(new float[] {7, 7 + ln2, 7, 0, 0, 0}, new long[] {0, 2});
    assertThat(merged.divergenceFrom(own)).isCloseTo(0.25 * Math.log(2) / 2, within(1e-7));
    assertThat(own.correct()).containsExactly(1, 0);
    assertThat(merged.correct()).containsExactly(0, 0);
  }

  /** 3 of 4 and 1 of 2: variances 0.1875 / 4 and 0.25 / 2, over the square of two tasks. */
  @Test
  void intervalsByHand() {
    List<double[]> values = List.of(new double[] {1, 1, 1, 0}, new double[] {1, 0});
    MeanOverTasks mean = MeanOverTasks.of(values);
    assertThat(mean.mean()).isEqualTo(0.625);
    assertThat(mean.margin()).isCloseTo(1.96 * Math.sqrt((0.046875 + 0.125) / 4), within(1e-12));
    assertThat(MeanOverTasks.ofDifferences(values, values).margin()).isZero();
    MeanOverTasks gain =
        MeanOverTasks.ofDifferences(
            values, List.of(new double[] {1, 1, 0, 0}, new double[] {1, 1}));
    assertThat(gain.mean()).isEqualTo((0.25 - 0.5) / 2);
  }

  private static void gzip(Path file, byte[] bytes) throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(bytes);
    }
  }

  private void idx(String part, int count, int firstLabel) throws IOException {
    ByteArrayOutputStream images = new ByteArrayOutputStream();
    ByteArrayOutputStream labels = new ByteArrayOutputStream();
    try (DataOutputStream pixels = new DataOutputStream(images);
        DataOutputStream truth = new DataOutputStream(labels)) {
      for (int header : new int[] {0x803, count, 28, 28}) {
        pixels.writeInt(header);
      }
      truth.writeInt(0x801);
      truth.writeInt(count);
      for (int i = 0; i < count; i++) {
        for (int j = 0; j < 28 * 28; j++) {
          pixels.writeByte(j == 0 ? 200 + i : 0);
        }
        truth.writeByte(firstLabel + i);
      }
    }
    gzip(folder.resolve(part + "-images-idx3-ubyte.gz"), images.toByteArray());
    gzip(folder.resolve(part + "-labels-idx1-ubyte.gz"), labels.toByteArray());
  }

  @Test
  void readsFashionMnist() throws IOException {
    idx("train", 3, 4);
    idx("t10k", 5, 0);
    PictureData.Parts parts = PictureData.fashion(folder, 2);
    assertThat(parts.training().count()).isEqualTo(3);
    assertThat(parts.heldBack().count()).isEqualTo(2);
    PictureTask.Picture second = parts.training().picture(9, 1);
    assertThat(second.label()).isEqualTo(5);
    // 28 pixels in the middle of 32, the same in all colours.
    assertThat(second.pixels()[2 * SIDE + 2] & 0xff).isEqualTo(201);
    assertThat(second.pixels()[3 * SIDE + 2] & 0xff).isZero();
    assertThat(second.pixels()[SIDE * SIDE + 2 * SIDE + 2] & 0xff).isEqualTo(201);
    // A shift moves the only bright pixel by up to two, along each side.
    PictureTask.Picture shifted = parts.training().drawnAndShifted().picture(1, 0);
    int bright = 0;
    for (int y = 0; y <= 4; y++) {
      for (int x = 0; x <= 4; x++) {
        bright += shifted.pixels()[y * SIDE + x] == 0 ? 0 : 1;
      }
    }
    assertThat(bright).isEqualTo(1);
    Files.delete(folder.resolve("train-images-idx3-ubyte.gz"));
    gzip(folder.resolve("train-images-idx3-ubyte.gz"), new byte[100]);
    assertThatThrownBy(() -> PictureData.fashion(folder, 2))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("train-images-idx3-ubyte.gz");
  }

  @Test
  void readsDigits() throws IOException {
    String line = "0,8,16" + ",0".repeat(61) + ",7\n";
    Path file = folder.resolve("digits.csv.gz");
    gzip(file, line.repeat(1203).getBytes(StandardCharsets.US_ASCII));
    PictureData.Parts parts = PictureData.digits(file);
    assertThat(parts.training().count()).isEqualTo(1200);
    assertThat(parts.heldBack().count()).isEqualTo(3);
    PictureTask.Picture first = parts.heldBack().picture(0, 0);
    assertThat(first.label()).isEqualTo(7);
    assertThat(
            new int[] {first.pixels()[3], first.pixels()[4], first.pixels()[3 * SIDE + 11] & 0xff})
        .containsExactly(0, 127, 255);
    assertThat(first.pixels()[4 * SIDE + 4]).isZero();
  }

  @Test
  void readsAnAlphabet() throws IOException {
    BufferedImage image = new BufferedImage(64, 64, BufferedImage.TYPE_BYTE_BINARY);
    for (int y = 0; y < 64; y++) {
      for (int x = 0; x < 64; x++) {
        image.setRGB(x, y, x < 3 && y < 2 ? 0 : 0xffffff);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    try (ZipOutputStream zip =
        new ZipOutputStream(
            Files.newOutputStream(folder.resolve("images_background_small1.zip")))) {
      for (String name : List.of("Latin/character01", "Latin/character02", "Greek/character01")) {
        for (int drawing = 1; drawing <= 20; drawing++) {
          zip.putNextEntry(
              new ZipEntry("images_background_small1/%s/01_%02d.png".formatted(name, drawing)));
          zip.write(png.toByteArray());
        }
      }
    }
    PictureData.Parts parts = PictureData.omniglot(folder, "Latin");
    assertThat(parts.training().classCount()).isEqualTo(2);
    assertThat(parts.training().count()).isEqualTo(24);
    assertThat(parts.heldBack().count()).isEqualTo(16);
    assertThat(
            Collections.frequency(
                parts.heldBack().pictures().stream().map(PictureTask.Picture::label).toList(), 1))
        .isEqualTo(8);
    byte[] pixels = parts.heldBack().picture(0, 0).pixels();
    // Two by two points make one: all of the first are ink, half of the next.
    assertThat(new int[] {pixels[0] & 0xff, pixels[1] & 0xff, pixels[2], pixels[SIDE]})
        .containsExactly(255, 127, 0, 0);
  }

  @Test
  void refusesOptionsThatItDoesNotKnow() {
    assertThat(QualityOptions.of("--seeds", "3", "--only", "near").seeds()).isEqualTo(3);
    assertThatThrownBy(() -> QualityOptions.of("--rates", "1"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("--rates", "--only REGEX");
    assertThatThrownBy(() -> QualityOptions.of("--keep")).isInstanceOf(InputException.class);
  }
}
