package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.SafetensorsWriter.Declared;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Shards as transformers cuts and names them. */
final class CheckpointWriterTest {
  private static final List<Declared> TENSORS =
      List.of(f32("a", 2), f32("b", 3), f32("c", 1), f32("d", 10), f32("e", 1), f32("f", 0));

  @TempDir Path folder;

  private static Declared f32(String name, long count) {
    return new Declared(name, DType.F32, List.of(count));
  }

  /** Bytes are 8, 12, 4, 40, 4, 0; a tensor that is larger than a shard has one to itself. */
  @ParameterizedTest
  @CsvSource({
    "1, a b c d e f",
    "12, a b c d ef",
    "16, a bc d ef",
    "20, ab c d ef",
    "24, abc d ef",
    "44, abc def",
    "67, abcd ef",
    "68, abcdef",
    "9223372036854775807, abcdef"
  })
  void fillsShardsInOrder(long bytes, String shards) {
    assertThat(
            CheckpointWriter.shards(TENSORS, bytes).stream()
                .map(shard -> String.join("", shard.stream().map(Declared::name).toList())))
        .containsExactly(shards.split(" ", -1));
  }

  @Test
  void writesShardsThatTheIndexFinds() throws IOException {
    try (CheckpointWriter writer =
        CheckpointWriter.folder(folder, TENSORS, Map.of("format", "pt"), 24)) {
      for (Declared tensor : TENSORS) {
        for (long j = 0; j < tensor.shape().getFirst(); j++) {
          writer
              .segment(tensor.name())
              .set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * j, (float) (tensor.name().charAt(0) + j));
        }
        writer.writeBehind(tensor.name(), writer.segment(tensor.name()));
      }
      assertThatThrownBy(() -> writer.segment("g"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("\"g\"");
      writer.finish();
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder(
              "model-00001-of-00003.safetensors",
              "model-00002-of-00003.safetensors",
              "model-00003-of-00003.safetensors",
              "model.safetensors.index.json");
    }
    assertThat(Files.readString(folder.resolve("model.safetensors.index.json")))
        .containsIgnoringWhitespaces("{\"metadata\": {\"total_size\": 68}, \"weight_map\": {")
        .containsIgnoringWhitespaces("\"d\": \"model-00002-of-00003.safetensors\"");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.warnings()).isEmpty();
      assertThat(checkpoint.tensors()).hasSize(TENSORS.size());
      assertThat(checkpoint.floats("b")).containsExactly('b', 'b' + 1f, 'b' + 2f);
      assertThat(checkpoint.floats("e")).containsExactly('e');
      assertThat(checkpoint.tensor("d").file())
          .isEqualTo(folder.resolve("model-00002-of-00003.safetensors"));
    }
  }

  @Test
  void writesOneFileWhereThatIsEnough() throws IOException {
    try (CheckpointWriter writer = CheckpointWriter.folder(folder, TENSORS, Map.of(), 68)) {
      writer.finish();
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactly(folder.resolve("model.safetensors"));
    }
  }

  @Test
  void aShardThatCannotBeCreatedLeavesNoneOpen() throws IOException {
    Files.createFile(folder.resolve("model-00002-of-00003.safetensors"));
    assertThatThrownBy(() -> CheckpointWriter.folder(folder, TENSORS, Map.of(), 24))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("model-00002-of-00003.safetensors");
  }

  @Test
  void aSinkThatMissesTensorsIsNotFinished() {
    List<String> handed = new ArrayList<>();
    List<Declared> declared =
        List.of(
            new Declared("a", DType.F32, List.of(1L)), new Declared("b", DType.F32, List.of(0L)));
    try (CheckpointWriter writer =
        CheckpointWriter.sink((tensor, values) -> handed.add(tensor.name()), declared, List.of())) {
      writer.writeBehind("a", writer.segment("a"));
      assertThatThrownBy(writer::finish)
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("[b]");
      writer.writeBehind("b", writer.segment("b"));
      writer.finish();
    }
    assertThat(handed).containsExactly("a", "b");
  }
}
