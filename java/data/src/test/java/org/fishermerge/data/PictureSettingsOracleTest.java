package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelFolder;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Settings of {@code oracles/picture_settings.py} against what transformers makes by them. */
final class PictureSettingsOracleTest {
  private static final ValueLayout.OfFloat F32 =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static SafetensorsFile oracle;

  @TempDir Path folder;

  @BeforeAll
  static void open(@TempDir Path unpacked) throws IOException {
    oracle = PictureOracleTest.open("picture-settings.safetensors.gz", unpacked);
  }

  @AfterAll
  static void close() {
    oracle.close();
  }

  static List<String> names() throws IOException {
    return PictureOracleTest.names("picture-settings.safetensors.gz", " case");
  }

  /** The cases as JSON. */
  static List<String> settingsText() throws IOException {
    Path unpacked = Files.createTempDirectory("oracle");
    try (SafetensorsFile file =
        PictureOracleTest.open("picture-settings.safetensors.gz", unpacked)) {
      return names().stream()
          .map(name -> file.segment(name + " case").toArray(ValueLayout.JAVA_BYTE))
          .map(text -> new String(text, StandardCharsets.UTF_8))
          .toList();
    } finally {
      Files.delete(unpacked.resolve("oracle.safetensors"));
      Files.delete(unpacked);
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void preparesWhatTransformersPrepares(String name) throws IOException {
    JsonNode described = Json.MAPPER.readTree(bytes(name + " case"));
    for (Map.Entry<String, JsonNode> file : described.get("files").properties()) {
      Files.writeString(folder.resolve(file.getKey()), file.getValue().toString());
    }
    byte[] picture = bytes("picture " + described.get("picture").textValue());
    int size = described.get("size").intValue();
    TensorInfo expected = oracle.header().tensors().get(name + " pixels");
    if (expected == null) {
      assertThatThrownBy(() -> processor(size).process(picture))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("_config.json");
      return;
    }
    ImageProcessor processor = processor(size);
    float[] pixels = processor.process(picture);
    assertThat(List.of(3L, (long) processor.height(), (long) processor.width()))
        .isEqualTo(expected.shape());
    MemorySegment values = oracle.segment(name + " pixels");
    for (int i = 0; i < pixels.length; i++) {
      // Equal, not near: each step is done in the same arithmetic.
      assertThat(pixels[i]).as("value %d", i).isEqualTo(values.getAtIndex(F32, i));
    }
    boolean odd = name.equals("unknown keys") || name.equals("processor before preprocessor");
    assertThat(processor.warnings()).hasSize(odd ? 1 : 0);
  }

  private ImageProcessor processor(int size) {
    return ImageProcessor.ofModel(new ModelFolder(folder)::find, folder, size);
  }

  private static byte[] bytes(String name) {
    return oracle.segment(name).toArray(ValueLayout.JAVA_BYTE);
  }
}
