package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Path;

/**
 * {@code benchmarks/run model b32|l14 DIR SEED}: writes a model folder of a published shape with
 * random weights, and beside it DIR.fisher.safetensors with random Fisher values.
 */
public final class RandomModel {
  private RandomModel() {}

  /** Arguments: shape, folder, seed. */
  public static void main(String[] args) throws IOException {
    ClipShape shape =
        switch (args[0]) {
          case "b32" -> ClipShape.B32;
          case "l14" -> ClipShape.L14;
          default -> throw new IllegalArgumentException(args[0] + ": expected b32 or l14");
        };
    Path folder = Path.of(args[1]);
    long seed = Long.parseLong(args[2]);
    shape.write(folder, seed);
    Path fisher = Path.of(folder + ".fisher.safetensors");
    shape.writeFisher(fisher, seed);
    System.out.printf("%s and %s: %,d parameters%n", folder, fisher, shape.parameterCount());
  }
}
