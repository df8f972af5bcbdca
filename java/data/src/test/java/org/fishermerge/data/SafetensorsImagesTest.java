package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.SafetensorsBuilder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class SafetensorsImagesTest {
  private static final ImageProcessor TINY = ImageProcessor.clip(2);
  private static final double[] MEAN = {0.48145466, 0.4578275, 0.40821073};
  private static final double[] STD = {0.26862954, 0.26130258, 0.27577711};

  @TempDir Path folder;

  @ParameterizedTest(name = "{0} workers")
  @ValueSource(ints = {0, 1, 3})
  void readsTheGoldenTensorsByPrefix(int workers) {
    Path file = Golden.path("clip-tiny/expected.safetensors");
    ImageProcessor processor = ImageProcessor.clip(32);
    try (SafetensorsFile golden = SafetensorsFile.open(file);
        ImageDataset images = ImageDatasets.open(file + "#beta.", processor);
        BatchIterator batches = images.batches(new Selection.First(100), 4, workers)) {
      assertThat(images.size()).isEqualTo(6);
      assertThat(images.labelled()).isTrue();
      assertThat(images.labels())
          .containsExactly(golden.segment("beta.labels").toArray(ValueLayout.JAVA_LONG_UNALIGNED));
      assertThat(images.description()).isEqualTo("expected.safetensors#beta.");
      assertThat(batches.count()).isEqualTo(6);
      MemorySegment pixels = golden.segment("beta.pixel_values");
      MemorySegment labels = golden.segment("beta.labels");
      long example = 3 * 32 * 32 * 4;
      for (int[] expected : new int[][] {{0, 4}, {4, 2}}) {
        try (ImageBatch batch = batches.next()) {
          assertThat(batch.firstIndex()).isEqualTo(expected[0]);
          assertThat(batch.count()).isEqualTo(expected[1]);
          assertThat(batch.channels()).isEqualTo(3);
          assertThat(batch.width()).isEqualTo(32);
          assertThat(batch.height()).isEqualTo(32);
          assertThat(
                  batch
                      .pixels()
                      .mismatch(pixels.asSlice(expected[0] * example, expected[1] * example)))
              .isEqualTo(-1);
          for (int i = 0; i < batch.count(); i++) {
            assertThat(images.labels()[(int) batch.rows()[i]])
                .isEqualTo(labels.getAtIndex(ValueLayout.JAVA_LONG_UNALIGNED, expected[0] + i));
          }
        }
      }
      assertThat(batches.hasNext()).isFalse();
    }
  }

  /** Cut inside a page, where the rest reads as zeros, and before one, where it cannot be read. */
  @ParameterizedTest
  @ValueSource(longs = {100_000, 4096})
  void aFileThatIsCutShortIsNamed(long size) throws IOException {
    Path file = folder.resolve("pictures.safetensors");
    Files.copy(Golden.path("clip-tiny/expected.safetensors"), file);
    ImageProcessor processor = ImageProcessor.clip(32);
    try (ImageDataset images = ImageDatasets.open(file + "#beta.", processor);
        FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(size);
      assertThatThrownBy(images::labels)
          .isInstanceOf(InputException.class)
          .hasMessageStartingWith(file + ": changed while it was in use");
      try (BatchIterator batches = images.batches(new Selection.First(6), 4, 1)) {
        assertThatThrownBy(batches::next)
            .isInstanceOf(InputException.class)
            .hasMessageStartingWith(file + ": changed while it was in use");
      }
    }
  }

  static List<Arguments> dtypes() {
    // 1, -2 and 0.15625 are exact in all of these.
    return List.of(
        Arguments.of("F32", 4, new long[] {0x3f800000, 0xc0000000L, 0x3e200000}),
        Arguments.of("F16", 2, new long[] {0x3c00, 0xc000, 0x3100}),
        Arguments.of("BF16", 2, new long[] {0x3f80, 0xc000, 0x3e20}));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("dtypes")
  void convertsHalfPrecision(String dtype, int bytes, long[] bits) throws IOException {
    byte[] data = new byte[12 * bytes];
    for (int i = 0; i < 12; i++) {
      long value = bits[i % 3];
      for (int b = 0; b < bytes; b++) {
        data[i * bytes + b] = (byte) (value >> (8 * b));
      }
    }
    Path file =
        new SafetensorsBuilder()
            .put("pixel_values", dtype, new long[] {1, 3, 2, 2}, data)
            .write(folder.resolve("x.safetensors"));
    assertThat(onlyExample(file))
        .containsExactly(1, -2, 0.15625f, 1, -2, 0.15625f, 1, -2, 0.15625f, 1, -2, 0.15625f);
  }

  @Test
  void rawPixelsAreRescaledAndNormalised() throws IOException {
    byte[] raw = {0, 1, (byte) 128, (byte) 255, 4, 5, 6, 7, 8, 9, 10, (byte) 200};
    Path file =
        new SafetensorsBuilder()
            .put("pixel_values", "U8", new long[] {1, 3, 2, 2}, raw)
            .write(folder.resolve("x.safetensors"));
    float[] values = onlyExample(file);
    for (int i = 0; i < 12; i++) {
      float rescaled = (float) ((raw[i] & 0xff) / 255.0);
      assertThat(values[i]).isEqualTo((rescaled - (float) MEAN[i / 4]) / (float) STD[i / 4]);
    }
  }

  private static float[] onlyExample(Path file) {
    try (ImageDataset images = ImageDatasets.open(file.toString(), TINY);
        BatchIterator batches = images.batches(new Selection.First(1), 1, 0);
        ImageBatch batch = batches.next()) {
      assertThat(images.labelled()).isFalse();
      assertThatThrownBy(images::labels).isInstanceOf(InputException.class);
      return batch.pixels().toArray(ValueLayout.JAVA_FLOAT);
    }
  }

  @Test
  void readsI32LabelsAndShuffles() throws IOException {
    int n = 7;
    float[] pixels = new float[n * 12];
    byte[] labels = new byte[4 * n];
    for (int i = 0; i < n; i++) {
      Arrays.fill(pixels, 12 * i, 12 * i + 12, i);
      SafetensorsBuilder.view(labels).putInt(4 * i, -100 * i);
    }
    Path file =
        new SafetensorsBuilder()
            .floats("t.pixel_values", new long[] {n, 3, 2, 2}, pixels)
            .put("t.labels", "I32", new long[] {n}, labels)
            .write(folder.resolve("x.safetensors"));
    Selection.Shuffled selection = new Selection.Shuffled(5, 11);
    List<Long> seen = new ArrayList<>();
    try (ImageDataset images = ImageDatasets.open(file + "#t.", TINY);
        BatchIterator batches = images.batches(selection, 2, 2)) {
      assertThat(images.labels()).containsExactly(0, -100, -200, -300, -400, -500, -600);
      while (batches.hasNext()) {
        try (ImageBatch batch = batches.next()) {
          for (int i = 0; i < batch.count(); i++) {
            long index = (long) batch.pixels().getAtIndex(ValueLayout.JAVA_FLOAT, 12L * i);
            assertThat(images.labels()[(int) batch.rows()[i]]).isEqualTo(-100 * index);
            seen.add(index);
          }
        }
      }
    }
    assertThat(seen.stream().mapToLong(i -> i).toArray()).isEqualTo(selection.rows(n));
  }

  static List<Arguments> bad() {
    long[] shape = {2, 3, 2, 2};
    float[] pixels = new float[24];
    return List.of(
        bad("no pixel_values", f -> f.floats("x", shape, pixels), "no tensor pixel_values", "x"),
        bad(
            "another prefix",
            f -> f.floats("a.pixel_values", shape, pixels).longs("a.labels", 1, 2),
            "append one of these",
            "#a."),
        bad(
            "rank",
            f -> f.floats("pixel_values", new long[] {2, 12}, pixels),
            "[2, 12]",
            "[N, 3, 2, 2]"),
        bad(
            "channels",
            f -> f.floats("pixel_values", new long[] {6, 1, 2, 2}, pixels),
            "[6, 1, 2, 2]",
            "[N, 3, 2, 2]"),
        bad(
            "size",
            f -> f.floats("pixel_values", new long[] {1, 3, 4, 2}, pixels),
            "[1, 3, 4, 2]",
            "[N, 3, 2, 2]"),
        bad(
            "empty",
            f -> f.floats("pixel_values", new long[] {0, 3, 2, 2}, new float[0]),
            "no examples",
            "pixel_values"),
        bad(
            "dtype",
            f -> f.put("pixel_values", "I32", shape, new byte[96]),
            "I32",
            "F32, F16 or BF16"),
        bad(
            "label dtype",
            f -> f.floats("pixel_values", shape, pixels).floats("labels", new long[] {2}, pair()),
            "labels is F32",
            "I64 or I32"),
        bad(
            "label count",
            f -> f.floats("pixel_values", shape, pixels).longs("labels", 1, 2, 3),
            "[3]",
            "[2]"),
        bad(
            "label rank",
            f ->
                f.floats("pixel_values", shape, pixels)
                    .put("labels", "I64", new long[] {2, 1}, new byte[16]),
            "[2, 1]",
            "one label for each picture"));
  }

  private static float[] pair() {
    return new float[2];
  }

  private static Arguments bad(
      String name, UnaryOperator<SafetensorsBuilder> content, String... named) {
    return Arguments.argumentSet(name, content, named);
  }

  @ParameterizedTest
  @MethodSource("bad")
  void refuses(UnaryOperator<SafetensorsBuilder> content, String[] named) throws IOException {
    Path file = content.apply(new SafetensorsBuilder()).write(folder.resolve("bad.safetensors"));
    assertThatThrownBy(() -> ImageDatasets.open(file.toString(), TINY).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("bad.safetensors")
        .hasMessageContainingAll(named);
  }

  @Test
  void saysThatLabelsAreMissingOnlyWhenTheyAreNeeded() throws IOException {
    Path file =
        new SafetensorsBuilder()
            .floats("pixel_values", new long[] {1, 3, 2, 2}, new float[12])
            .write(folder.resolve("x.safetensors"));
    try (ImageDataset images = ImageDatasets.open(file.toString(), TINY)) {
      assertThat(images.labelled()).isFalse();
      assertThatThrownBy(images::labels)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("no tensor labels");
    }
  }

  @Test
  void namesAMissingSource() {
    String missing = folder.resolve("none.safetensors").toString();
    for (String source : List.of(missing, missing + "#a.", folder.resolve("none").toString())) {
      assertThatThrownBy(() -> ImageDatasets.open(source, TINY).close())
          .isInstanceOf(InputException.class)
          .hasMessageContaining("does not exist");
    }
  }
}
