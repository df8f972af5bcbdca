package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;

/**
 * A weighted average of several models in memory: what the merge kernel does to one large tensor.
 */
public final class MergeWork implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final List<WeightedInput> inputs = new ArrayList<>();
  private final MemorySegment output;
  private final ElementType type;
  private final long count;

  /** {@code models} models and Fishers of {@code count} values; Fishers are fp32. */
  public MergeWork(int models, ElementType type, long count, long seed) {
    this.type = type;
    this.count = count;
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < models; i++) {
      MemorySegment values = arena.allocate(count * type.bytes(), 4096);
      MemorySegment fisher = arena.allocate(count * Float.BYTES, 4096);
      for (long j = 0; j < count; j++) {
        float value = (float) (random.nextDouble() - 0.5);
        switch (type) {
          case F32 -> values.setAtIndex(ValueLayout.JAVA_FLOAT, j, value);
          case F16 -> values.setAtIndex(ValueLayout.JAVA_SHORT, j, Float.floatToFloat16(value));
          case BF16 ->
              values.setAtIndex(
                  ValueLayout.JAVA_SHORT, j, (short) (Float.floatToRawIntBits(value) >>> 16));
          case F64 -> values.setAtIndex(ValueLayout.JAVA_DOUBLE, j, value);
        }
        double u = random.nextDouble();
        fisher.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) (1e-4 * u * u * u * u));
      }
      inputs.add(new WeightedInput(values, type, fisher, ElementType.F32, 0.1 * (i + 1), 1e-7));
    }
    output = arena.allocate(count * type.bytes(), 4096);
  }

  /** Runs the kernel once. */
  public void run(Kernels kernels) {
    kernels.weightedAverage(new WeightedAverage(inputs, output, type, count));
  }

  /** Computes the norms of the Fishers, as a merge of files that do not state them does; merges. */
  public void runWithNorms(Kernels kernels) {
    kernels.statistics(
        inputs.stream()
            .map(input -> new TypedValues(Objects.requireNonNull(input.fisher()), ElementType.F32))
            .toList(),
        0);
    run(kernels);
  }

  /** Memory moved by one run: every input read once, the output written once. */
  public long bytes() {
    return count * (inputs.size() * (long) (type.bytes() + Float.BYTES) + type.bytes());
  }

  /** The result of the last run. */
  public MemorySegment output() {
    return output.asReadOnly();
  }

  @Override
  public void close() {
    arena.close();
  }
}
