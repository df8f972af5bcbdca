package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/**
 * Statistic files with made-up factors of linear layers. A factor of n rows is
 *
 * <pre>
 * sum_k k^-1 s_k u_k u_k^T + 0.5 / n I,     k = 1 ... n / 4,
 * </pre>
 *
 * u_k of n random values of mean square 1 / n, the even k's common to all models and the odd ones
 * each its own, log s_k uniform between -2 and 2 for each model: a power law as of trained
 * transformers, over a floor of about 0.05 of the diagonal's mean, so that no eigenvalue is small
 * beside the damping, as on trained towers. How fast conjugate gradients converge depends on such
 * numbers, so iterations are to be read beside times.
 */
final class RandomFactors {
  /** Directions of a factor, as a part of its rows. */
  private static final int PART = 4;

  private static final double FLOOR = 0.5;
  private static final double LOG_RANGE = 2;
  private static final int EXAMPLES = 256;

  private final LinearAlgebra algebra;

  RandomFactors(LinearAlgebra algebra) {
    this.algebra = algebra;
  }

  /**
   * Writes a file.
   *
   * @param seed of the model's own directions
   */
  void write(Path file, StatisticKind kind, Map<String, LinearLayer> layers, long seed) {
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    Map<String, LinearLayer> counted = new LinkedHashMap<>();
    layers.forEach((weight, layer) -> {
      for (LayerFactor factor : kind.factors()) {
        declared.add(
            new SafetensorsWriter.Declared(
                factor.tensorName(weight), DType.F32, List.of(factor.storedValues(layer))));
      }
      counted.put(weight, kind == StatisticKind.GRAM ? layer.withTokens(EXAMPLES) : layer);
    });
    StatisticMetadata metadata =
        new StatisticMetadata(EXAMPLES, "random", null, null, null, null, null, null);
    Map<String, String> entries =
        new LinkedHashMap<>(metadata.toMap(new StatisticLayout(Set.of(kind), counted)));
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, declared, entries)) {
      layers.forEach((weight, layer) -> {
        for (LayerFactor factor : kind.factors()) {
          String name = factor.tensorName(weight);
          algebra.run(() -> fill(writer.segment(name), name, factor.size(layer), seed));
        }
      });
      writer.finish();
    }
  }

  private void fill(MemorySegment triangle, String name, long n, long seed) {
    long half = Math.max(1, n / PART / 2);
    Matrix sum = algebra.zeros(n, n);
    addDirections(sum, half, n, name.hashCode(), seed ^ name.hashCode(), 2);
    addDirections(sum, half, n, 31 * seed + name.hashCode(), ~seed ^ name.hashCode(), 1);
    algebra.addToDiagonal(sum, FLOOR / n);
    algebra.scale(sum, EXAMPLES);
    try (Arena arena = Arena.ofShared()) {
      MemorySegment full = arena.allocate(n * n * Double.BYTES, Double.BYTES);
      algebra.read(sum, full);
      long at = 0;
      for (long i = 0; i < n; i++) {
        for (long j = 0; j <= i; j++) {
          triangle.set(
              ValueLayout.JAVA_FLOAT_UNALIGNED,
              Float.BYTES * at++,
              (float) full.getAtIndex(ValueLayout.JAVA_DOUBLE, i * n + j));
        }
      }
    }
  }

  /** Adds directions of every second k, from {@code first} on. */
  private void addDirections(
      Matrix sum, long count, long n, long directionSeed, long scaleSeed, long first) {
    SplittableRandom directions = new SplittableRandom(directionSeed);
    SplittableRandom scales = new SplittableRandom(scaleSeed);
    try (Arena arena = Arena.ofShared()) {
      MemorySegment values = arena.allocate(count * n * Float.BYTES, Float.BYTES);
      for (long k = 0; k < count; k++) {
        double power = Math.exp(LOG_RANGE * (2 * scales.nextDouble() - 1)) / (first + 2 * k);
        double range = Math.sqrt(3 * power);
        for (long j = 0; j < n; j++) {
          values.setAtIndex(
              ValueLayout.JAVA_FLOAT,
              k * n + j,
              (float) (range * (2 * directions.nextDouble() - 1)));
        }
      }
      Matrix rows = algebra.of(values, ElementType.F32, count, n);
      algebra.addProduct(sum, 1.0 / n, algebra.transposed(rows), rows);
    }
  }
}
