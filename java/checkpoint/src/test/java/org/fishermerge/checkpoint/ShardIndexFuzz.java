package org.fishermerge.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;

/** The index of a model in shards; the shards are fine. */
public final class ShardIndexFuzz implements FuzzTarget {
  private static final ShardIndexFuzz TARGET = new ShardIndexFuzz();
  private static final String ONE = "model-00001-of-00002.safetensors";
  private static final String TWO = "model-00002-of-00002.safetensors";

  private final Path folder = Fuzzing.folder();

  ShardIndexFuzz() {
    Fuzzing.file(
        folder,
        ONE,
        SafetensorsBytes.file("{" + SafetensorsBytes.entry("a", "F32", "[1]", 0, 4) + "}", 4));
    Fuzzing.file(
        folder,
        TWO,
        SafetensorsBytes.file("{" + SafetensorsBytes.entry("b", "F32", "[2]", 0, 8) + "}", 8));
  }

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    String good =
        "{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\""
            + ONE
            + "\",\"b\":\""
            + TWO
            + "\"}}";
    return List.of(
        good.getBytes(UTF_8),
        good.replace("12", "12.0").getBytes(UTF_8),
        good.replace(TWO, "../" + TWO).getBytes(UTF_8),
        good.replace(TWO, "/etc/passwd").getBytes(UTF_8),
        good.replace("\"b\"", "\"a\"").getBytes(UTF_8),
        "{\"weight_map\":{}}".getBytes(UTF_8));
  }

  @Override
  public void run(byte[] input) {
    Fuzzing.file(folder, "model.safetensors.index.json", input);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      for (SafetensorsHeader file : checkpoint.files()) {
        if (!file.file().startsWith(folder) || file.file().toString().contains("..")) {
          throw new AssertionError("left the folder: " + file.file());
        }
      }
    } catch (InputException e) {
      SafetensorsFuzz.requireNamed(e, folder);
    }
  }
}
