package org.fishermerge.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.ValueStatistics;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every benchmark computes what the scalar provider computes: a fast wrong kernel is no result. */
final class BenchmarkTwinTest {
  private static final long SEED = 7;

  @ParameterizedTest
  @EnumSource(
      value = ElementType.class,
      names = {"F32", "F16", "BF16"})
  void weightedAverage(ElementType type) {
    long count = 10_007;
    try (Kernels fast = Kernels.open();
        Kernels scalar = scalar();
        MergeWork work = new MergeWork(8, type, count, SEED);
        MergeWork twin = new MergeWork(8, type, count, SEED)) {
      work.run(fast);
      twin.run(scalar);
      for (long j = 0; j < count; j++) {
        if (type == ElementType.F32) {
          float expected = twin.output().getAtIndex(ValueLayout.JAVA_FLOAT, j);
          assertThat(work.output().getAtIndex(ValueLayout.JAVA_FLOAT, j))
              .as("seed %d, value %d", SEED, j)
              .isCloseTo(expected, within(Math.ulp(expected)));
        } else {
          assertThat(work.output().getAtIndex(ValueLayout.JAVA_SHORT, j))
              .as("seed %d, value %d", SEED, j)
              .isEqualTo(twin.output().getAtIndex(ValueLayout.JAVA_SHORT, j));
        }
      }
      assertThat(work.bytes()).isEqualTo(count * (8L * (type.bytes() + 4) + type.bytes()));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 8, 11})
  void pairSums(int fishers) {
    try (Kernels fast = Kernels.open();
        Kernels scalar = scalar();
        FishersWork work = new FishersWork(fishers, 70_007, SEED)) {
      PairSums actual = work.pairSums(fast);
      PairSums expected = work.pairSums(scalar);
      for (int p = 0; p < fishers; p++) {
        for (int q = 0; q <= p; q++) {
          assertThat(actual.product(p, q)).isEqualTo(expected.product(p, q)).isPositive();
          assertThat(actual.root(p, q)).isEqualTo(expected.root(p, q)).isPositive();
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8})
  void statistics(int fishers) {
    try (Kernels fast = Kernels.open();
        Kernels scalar = scalar();
        FishersWork work = new FishersWork(fishers, 70_007, SEED)) {
      List<ValueStatistics> expected = work.statistics(scalar);
      assertThat(work.statistics(fast)).hasSize(fishers).isEqualTo(expected);
      assertThat(expected).allMatch(each -> each.sumOfSquares() > 0 && each.below() > 0);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"3x5x37x19", "2x50x96x256", "4x1x33x70"})
  void squaredGradients(String shape) {
    try (Kernels fast = Kernels.open();
        Kernels scalar = scalar();
        SquaredGradientsWork work = SquaredGradientsBenchmark.parse(shape);
        SquaredGradientsWork twin = SquaredGradientsBenchmark.parse(shape)) {
      work.run(fast);
      twin.run(scalar);
      double largest = largest(twin.fisher());
      assertThat(largest).isPositive();
      for (long j = 0; j < twin.fisher().byteSize() / Float.BYTES; j++) {
        assertThat((double) work.fisher().getAtIndex(ValueLayout.JAVA_FLOAT, j))
            .as("value %d", j)
            .isCloseTo(twin.fisher().getAtIndex(ValueLayout.JAVA_FLOAT, j), within(1e-5 * largest));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"b32", "l14"})
  void shapesHaveThePublishedParameterCounts(String name) {
    ClipShape shape = name.equals("b32") ? ClipShape.B32 : ClipShape.L14;
    assertThat(shape.parameterCount()).isEqualTo(name.equals("b32") ? 87_456_000 : 303_179_776);
  }

  @Test
  void gpt2HasThePublishedParameterCount() {
    assertThat(Gpt2Shape.SMALL.parameterCount()).isEqualTo(124_439_808);
    assertThat(Gpt2Shape.SMALL.parameters()).hasSize(148);
  }

  private static double largest(MemorySegment values) {
    double largest = 0;
    for (long j = 0; j < values.byteSize() / Float.BYTES; j++) {
      largest = Math.max(largest, values.getAtIndex(ValueLayout.JAVA_FLOAT, j));
    }
    return largest;
  }

  private static Kernels scalar() {
    return Kernels.open(
        KernelOptions.fromSystemProperties().withProvider("scalar").withRequire(Optional.empty()));
  }
}
