package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.SumsOfSquares;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;

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

  /** A Fisher file of one example: non-negative values over several magnitudes. */
  static void writeFisher(Path file, Map<String, List<Long>> shapes, long seed) {
    writeTensors(file, shapes, seed, true);
  }

  private static void writeTensors(
      Path file, Map<String, List<Long>> shapes, long seed, boolean fisher) {
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    shapes.forEach(
        (name, shape) -> declared.add(new SafetensorsWriter.Declared(name, DType.F32, shape)));
    Map<String, String> metadata = fisher ? fisherMetadata(shapes, seed) : Map.of("format", "pt");
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, declared, metadata)) {
      SplittableRandom random = new SplittableRandom(seed);
      shapes.forEach((name, shape) -> fill(writer.segment(name), name, shape, random, fisher));
      writer.finish();
    }
  }

  /** What {@code fisher} writes; the values are made once more for it. */
  private static Map<String, String> fisherMetadata(Map<String, List<Long>> shapes, long seed) {
    Map<String, Double> squares = new LinkedHashMap<>();
    SplittableRandom random = new SplittableRandom(seed);
    try (Kernels kernels = Kernels.open()) {
      shapes.forEach((name, shape) -> {
        try (Arena arena = Arena.ofShared()) {
          MemorySegment values =
              arena.allocate(Float.BYTES * shape.stream().reduce(1L, (a, b) -> a * b), 64);
          fill(values, name, shape, random, true);
          TypedValues typed = new TypedValues(values, ElementType.F32);
          squares.put(name, ValueStatistics.ofTensor(kernels, typed, 0).sumOfSquares());
        }
      });
    }
    Map<String, String> metadata =
        new LinkedHashMap<>(
            new StatisticMetadata(1, "random", null, null, null, null, null, null).toMap());
    metadata.put(SumsOfSquares.KEY, SumsOfSquares.text(squares));
    return metadata;
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
