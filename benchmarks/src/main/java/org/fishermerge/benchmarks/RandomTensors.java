package org.fishermerge.benchmarks;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.SafetensorsWriter;

/** Files of random tensors of given shapes, by name. */
final class RandomTensors {
  private static final Pattern NORM = Pattern.compile("norm|ln_");

  private RandomTensors() {}

  /** Values of all shapes together. */
  static long count(Map<String, List<Long>> shapes) {
    return shapes.values().stream()
        .mapToLong(shape -> shape.stream().reduce(1L, (a, b) -> a * b))
        .sum();
  }

  /** Weights of a trained model's scale. */
  static void writeModel(Path file, Map<String, List<Long>> shapes, long seed) {
    writeTensors(file, shapes, seed, false);
  }

  /** A bare Fisher file: non-negative values over several magnitudes. */
  static void writeFisher(Path file, Map<String, List<Long>> shapes, long seed) {
    writeTensors(file, shapes, seed, true);
  }

  private static void writeTensors(
      Path file, Map<String, List<Long>> shapes, long seed, boolean fisher) {
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    shapes.forEach(
        (name, shape) -> declared.add(new SafetensorsWriter.Declared(name, DType.F32, shape)));
    Map<String, String> metadata = fisher ? Map.of() : Map.of("format", "pt");
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, declared, metadata)) {
      SplittableRandom random = new SplittableRandom(seed);
      shapes.forEach((name, shape) -> fill(writer.segment(name), name, shape, random, fisher));
      writer.finish();
    }
  }

  private static void fill(
      MemorySegment target,
      String name,
      List<Long> shape,
      SplittableRandom random,
      boolean fisher) {
    long count = target.byteSize() / Float.BYTES;
    double scale = shape.size() > 1 ? 1 / Math.sqrt((double) count / shape.get(0)) : 0.02;
    double centre = NORM.matcher(name).find() && name.endsWith("weight") ? 1 : 0;
    for (long j = 0; j < count; j++) {
      double u = random.nextDouble();
      double value;
      if (fisher) {
        value = 1e-4 * u * u * u * u;
      } else if (name.equals("logit_scale")) {
        // A trained CLIP has 100; under random features that would make every prediction certain.
        value = Math.log(5);
      } else {
        value = centre + scale * Math.sqrt(3) * (2 * u - 1);
      }
      target.set(ValueLayout.JAVA_FLOAT_UNALIGNED, j * Float.BYTES, (float) value);
    }
  }
}
