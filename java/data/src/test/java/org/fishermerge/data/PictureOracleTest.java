package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Pictures of {@code oracles/pictures.py} against what datasets and Pillow make of them. */
final class PictureOracleTest {
  private static SafetensorsFile pictures;

  @TempDir static Path folder;

  @BeforeAll
  static void open() throws IOException {
    pictures = open("pictures.safetensors.gz", folder);
  }

  @AfterAll
  static void close() {
    pictures.close();
  }

  static List<String> names() throws IOException {
    return names("pictures.safetensors.gz", " bytes");
  }

  /** A compressed resource of this module's tests, unpacked into a folder. */
  static SafetensorsFile open(String resource, Path folder) throws IOException {
    Path file = folder.resolve("oracle.safetensors");
    try (InputStream in = PictureOracleTest.class.getResourceAsStream("/" + resource);
        InputStream plain = new GZIPInputStream(Objects.requireNonNull(in))) {
      Files.copy(plain, file);
    }
    return SafetensorsFile.open(file);
  }

  /** The tensors of a resource whose names end like this, without that. */
  static List<String> names(String resource, String ending) throws IOException {
    Path folder = Files.createTempDirectory("oracle");
    try (SafetensorsFile file = open(resource, folder)) {
      return file.header().tensors().keySet().stream()
          .filter(name -> name.endsWith(ending))
          .map(name -> name.substring(0, name.length() - ending.length()))
          .sorted()
          .toList();
    } finally {
      Files.delete(folder.resolve("oracle.safetensors"));
      Files.delete(folder);
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void readsWhatPillowReads(String name) throws IOException {
    byte[] encoded = pictures.segment(name + " bytes").toArray(ValueLayout.JAVA_BYTE);
    Map<String, TensorInfo> tensors = pictures.header().tensors();
    TensorInfo expected = tensors.get(name + " rgb");
    if (expected == null) {
      assertThatThrownBy(() -> PictureDecoder.decode(encoded)).isInstanceOf(IOException.class);
      return;
    }
    RgbImage image = PictureDecoder.decode(encoded);
    assertThat(List.of((long) image.height(), (long) image.width(), 3L))
        .isEqualTo(expected.shape());
    MemorySegment rgb = pictures.segment(name + " rgb");
    int worst = 0;
    for (int i = 0; i < image.pixels().length; i++) {
      int distance =
          Math.abs((image.pixels()[i] & 0xff) - (rgb.get(ValueLayout.JAVA_BYTE, i) & 0xff));
      worst = Math.max(worst, distance);
    }
    // No tolerance, for lossy formats neither: the decoders have the same bits.
    assertThat(worst).isZero();
  }
}
