package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokenized texts that save_to_disk wrote, against the same numbers in a safetensors file. */
final class SavedDatasetCommandsTest {
  private static final Path SAVED =
      Path.of(System.getProperty("basedir", "."))
          .resolve("../data/src/test/resources/org/fishermerge/data/saved/tokens");

  @TempDir Path folder;

  private static Tensor matrix(long... values) {
    ByteBuffer bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asLongBuffer().put(values);
    return new Tensor("I64", List.of(3L, values.length / 3L), bytes.array());
  }

  private TestTensors outputs(String model, Object data) {
    Path out = folder.resolve("outputs.safetensors");
    CommandResult.run(
            "evaluate",
            "--model",
            Golden.path(model).toString(),
            "--data",
            data.toString(),
            "--outputs",
            out.toString(),
            "--overwrite")
        .succeeds();
    return TestTensors.read(out);
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-tiny/two", "bert-tiny/four"})
  void tokensAreThoseOfASafetensorsFile(String model) {
    Path file = folder.resolve("tokens.safetensors");
    TestTensors.write(
        file,
        Map.of(
            "input_ids", matrix(5, 6, 7, 0, 8, 0, 0, 0, 9, 9, 0, 1),
            "attention_mask", matrix(1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1),
            "token_type_ids", matrix(0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0),
            "labels", Tensor.of(1, 0, 1)));
    Tensor expected = outputs(model, file).get("logits");
    assertThat(expected.shape()).startsWith(3L).hasSize(2);
    for (String data : List.of(SAVED.toString(), SAVED + "#train[:]", SAVED + "/../tokens#all")) {
      assertThat(outputs(model, data).get("logits").bytes()).as(data).isEqualTo(expected.bytes());
    }
  }
}
