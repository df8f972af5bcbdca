package org.fishermerge.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;

/** A safetensors file, as a model and as a Fisher file with all its metadata. */
public final class SafetensorsFuzz implements FuzzTarget {
  private static final SafetensorsFuzz TARGET = new SafetensorsFuzz();

  private final Path folder = Fuzzing.folder();

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    String a = SafetensorsBytes.entry("vision_model.a", "F32", "[2,2]", 0, 16);
    String b = SafetensorsBytes.entry("b", "BF16", "[3]", 16, 22);
    String fisher =
        "\"__metadata__\":{\"fisher_format\":\"1\",\"fisher_examples\":\"4\",\"fisher_labels\":\"exact\","
            + "\"fisher_dataset\":\"d\",\"fisher_selection\":\"first\",\"fisher_seed\":\"0\","
            + "\"fisher_sums_of_squares\":\"{\\\"vision_model.a\\\":1.5,\\\"b\\\":0}\"},";
    return List.of(
        SafetensorsBytes.file("{" + a + "," + b + "}", 22),
        SafetensorsBytes.file("{" + fisher + a + "," + b + "}   ", 22),
        SafetensorsBytes.file("{}", 0),
        SafetensorsBytes.file(
            "{\"__metadata__\":{\"format\":\"pt\"}," + b.replace("16,22", "0,6") + "}", 6),
        SafetensorsBytes.file("{" + SafetensorsBytes.entry("s", "F64", "[]", 0, 8) + "}", 8),
        "version https://git-lfs.github.com/spec/v1\n".getBytes(UTF_8),
        new byte[0]);
  }

  @Override
  public void run(byte[] input) {
    Path file = Fuzzing.file(folder, "model.safetensors", input);
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        long bytes = checkpoint.segment(tensor.canonicalName()).byteSize();
        if (bytes != tensor.info().byteCount() || bytes > input.length) {
          throw new AssertionError(tensor + " has " + bytes + " bytes");
        }
      }
    } catch (InputException e) {
      requireNamed(e, file);
    }
    try (StatisticFile fisher = StatisticFile.open(file)) {
      if (fisher.examples() < 1) {
        throw new AssertionError("no examples");
      }
    } catch (InputException e) {
      requireNamed(e, file);
    }
  }

  static void requireNamed(InputException e, Path file) {
    if (!String.valueOf(e.getMessage()).contains(file.toString())) {
      throw new AssertionError("does not name the file: " + e.getMessage(), e);
    }
  }
}
