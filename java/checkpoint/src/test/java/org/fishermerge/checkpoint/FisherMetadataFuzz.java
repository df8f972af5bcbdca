package org.fishermerge.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;

/** The {@code __metadata__} of a Fisher file whose lengths and tensors are fine. */
public final class FisherMetadataFuzz implements FuzzTarget {
  private static final FisherMetadataFuzz TARGET = new FisherMetadataFuzz();
  private static final String LEAST =
      "{\"fisher_format\":\"1\",\"fisher_examples\":\"4\",\"fisher_labels\":\"exact\"";

  private final Path folder = Fuzzing.folder();

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    return Stream.of(
            LEAST + "}",
            LEAST
                + ",\"fisher_dataset\":\"d\",\"fisher_selection\":\"first\",\"fisher_seed\":\"-1+2\","
                + "\"fisher_model_sha256\":\""
                + "0123456789abcdef".repeat(4)
                + "\",\"fisher_model_fingerprint\":\""
                + "f".repeat(64)
                + "\",\"fisher_tool\":\"t\"}",
            LEAST + ",\"fisher_sums_of_squares\":\"{\\\"a\\\":1.5e3,\\\"b\\\":0}\"}",
            LEAST.replace("\"1\"", "\"2\"")
                + ",\"fisher_statistics\":\"diagonal,kronecker\",\"fisher_layers\":\"{\\\"b.weight\\\":"
                + "{\\\"outputs\\\":1,\\\"inputs\\\":1,\\\"transposed\\\":true,\\\"tokens\\\":0}}\"}",
            "{\"format\":\"pt\"}",
            "{}")
        .map(text -> text.getBytes(UTF_8))
        .toList();
  }

  @Override
  public void run(byte[] input) {
    String tensors =
        SafetensorsBytes.entry("vision_model.a", "F32", "[2]", 0, 8)
            + ","
            + SafetensorsBytes.entry("b", "F32", "[1]", 8, 12);
    byte[] header =
        SafetensorsBytes.concat(
            "{\"__metadata__\":".getBytes(UTF_8), input, ("," + tensors + "}").getBytes(UTF_8));
    Path file = Fuzzing.file(folder, "f.safetensors", SafetensorsBytes.file(header, new byte[12]));
    try (StatisticFile fisher = StatisticFile.open(file)) {
      if (fisher.examples() < 1) {
        throw new AssertionError("no examples");
      }
      for (String name : fisher.tensors().keySet()) {
        double sum = fisher.sumOfSquares(name).orElse(0);
        if (!(sum >= 0 && sum <= Double.MAX_VALUE)) {
          throw new AssertionError("the sum of squares of " + name + " is " + sum);
        }
      }
    } catch (InputException e) {
      SafetensorsFuzz.requireNamed(e, file);
    }
  }
}
