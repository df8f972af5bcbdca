package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Path;

/**
 * {@code benchmarks/run model b32|l14|gpt2 DIR SEED}: writes a model folder of a published shape
 * with random weights, and beside it DIR.fisher.safetensors with random Fisher values.
 */
public final class RandomModel {
  private RandomModel() {}

  /** Arguments: shape, folder, seed. */
  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[1]);
    Path fisher = Path.of(folder + ".fisher.safetensors");
    long seed = Long.parseLong(args[2]);
    long parameters;
    if (args[0].equals("gpt2")) {
      Gpt2Shape.SMALL.write(folder, seed);
      Gpt2Shape.SMALL.writeFisher(fisher, seed);
      parameters = Gpt2Shape.SMALL.parameterCount();
    } else {
      ClipShape shape =
          switch (args[0]) {
            case "b32" -> ClipShape.B32;
            case "l14" -> ClipShape.L14;
            default -> throw new IllegalArgumentException(args[0] + ": expected b32, l14 or gpt2");
          };
      shape.write(folder, seed);
      shape.writeFisher(fisher, seed);
      parameters = shape.parameterCount();
    }
    System.out.printf("%s and %s: %,d parameters%n", folder, fisher, parameters);
  }
}
