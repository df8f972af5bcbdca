package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Pictures of {@code oracles/pictures.py} against what datasets and Pillow make of them. */
final class PictureOracleTest {
  private static SafetensorsFile pictures;

  @BeforeAll
  static void open() throws URISyntaxException {
    pictures = SafetensorsFile.open(resource("pictures.safetensors"));
  }

  @AfterAll
  static void close() {
    pictures.close();
  }

  static Path resource(String name) throws URISyntaxException {
    return Path.of(
        Objects.requireNonNull(PictureOracleTest.class.getResource("/" + name)).toURI());
  }

  static List<String> names() throws URISyntaxException {
    try (SafetensorsFile file = SafetensorsFile.open(resource("pictures.safetensors"))) {
      return file.header().tensors().keySet().stream()
          .filter(name -> name.endsWith(" bytes"))
          .map(name -> name.substring(0, name.length() - " bytes".length()))
          .sorted()
          .toList();
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
