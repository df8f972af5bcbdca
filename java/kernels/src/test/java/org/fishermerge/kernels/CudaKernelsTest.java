package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Disabled;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The contract on the CUDA kernels' own source, run on an emulated device whose memory is the
 * process's. Its streams run as late as those of a device may, so that a missing wait is noticed.
 */
final class CudaKernelsTest extends KernelContract {
  private static final long SLOT_BYTES = 4 << 20;

  @BeforeAll
  static void finishEveryCall() {
    // The contract reads results in place.
    System.setProperty(KernelOptions.CUDA_SYNCHRONOUS, "true");
    System.setProperty(KernelOptions.CUDA_SLOT_BYTES, Long.toString(SLOT_BYTES));
  }

  @AfterAll
  static void finishNoCall() {
    System.clearProperty(KernelOptions.CUDA_SLOT_BYTES);
    System.clearProperty(KernelOptions.CUDA_SYNCHRONOUS);
  }

  @Override
  KernelOptions options() {
    return options("cuda", "auto");
  }

  @Override
  int alignment() {
    return Float.BYTES;
  }

  @Override
  boolean hasTheSumsOfStatistics() {
    return false;
  }

  @Override
  @Disabled("the workspace of a GPU is larger than what can be emulated in time")
  void batchesLargerThanTheWorkspaceAreTakenInParts() {}

  @Test
  void runsOnTheEmulatedDevice() {
    try (Kernels kernels = Kernels.open(options())) {
      assertThat(kernels.info().provider()).isEqualTo("cuda");
      assertThat(kernels.info().isa()).isEqualTo("sm_90, fp32, emulated device");
      assertThat(kernels.info().library().orElseThrow()).contains("emulated");
    }
    assertThat(Kernels.describeGpu()).isEqualTo("emulated device (8.0 GiB, 8.0 GiB free)");
  }

  /** Averages larger than both slots, and small ones, have the bits and counts of the CPU. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void averagesBeyondTheSlots(boolean withFishers) {
    long seed = 17;
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined();
        Kernels cpu = Kernels.open(options("cpu", "auto"));
        Kernels cuda = Kernels.open(options())) {
      List<WeightedAverage> onCpu = new ArrayList<>();
      List<WeightedAverage> onGpu = new ArrayList<>();
      for (int count : new int[] {3, 0, 600_003, 16384, 77, 300_001, 5}) {
        List<WeightedInput> inputs = new ArrayList<>();
        for (ElementType type : new ElementType[] {ElementType.F32, ElementType.BF16}) {
          MemorySegment values = random(random, arena, count, type);
          MemorySegment fisher = withFishers ? random(random, arena, count, ElementType.F32) : null;
          inputs.add(new WeightedInput(values, type, fisher, ElementType.F32, 0.3, 0.1));
        }
        for (List<WeightedAverage> to : List.of(onCpu, onGpu)) {
          MemorySegment out = arena.allocate(4L * count + 1).asSlice(0, 4L * count);
          to.add(new WeightedAverage(inputs, out, ElementType.F32, count));
        }
      }
      List<Double> thresholds = withFishers ? List.of(0.2, 0.3) : List.of();
      List<WeightedAverage.Statistics> expected = cpu.weightedAverages(onCpu, thresholds);
      List<WeightedAverage.Statistics> actual = cuda.weightedAverages(onGpu, thresholds);
      for (int k = 0; k < onCpu.size(); k++) {
        assertThat(onGpu.get(k).out().mismatch(onCpu.get(k).out()))
            .as("average %d", k)
            .isEqualTo(-1);
        assertAlike(actual.get(k).out(), expected.get(k).out());
        for (int i = 0; i < thresholds.size(); i++) {
          assertAlike(actual.get(k).fishers().get(i), expected.get(k).fishers().get(i));
        }
      }
      assertThat(cuda.weightedAverages(onGpu, thresholds)).as("again").isEqualTo(actual);
    }
  }

  private static void assertAlike(ValueStatistics actual, ValueStatistics expected) {
    assertThat(actual.minimum()).isEqualTo(expected.minimum());
    assertThat(actual.below()).isEqualTo(expected.below());
    assertThat(actual.sumOfSquares())
        .isCloseTo(expected.sumOfSquares(), Percentage.withPercentage(1e-10));
  }

  private static MemorySegment random(
      SplittableRandom random, Arena arena, int count, ElementType type) {
    MemorySegment values = arena.allocate(Math.max(1, (long) count * type.bytes()));
    for (int j = 0; j < count; j++) {
      float x = (float) random.nextDouble(0.1, 1);
      if (type == ElementType.F32) {
        values.setAtIndex(ValueLayout.JAVA_FLOAT, j, x);
      } else {
        values.setAtIndex(ValueLayout.JAVA_SHORT, j, (short) (Float.floatToIntBits(x) >>> 16));
      }
    }
    return values.asSlice(0, (long) count * type.bytes());
  }

  /** Kernels that are not waited for one by one are finished when their result is read. */
  @Test
  void memoryThatIsReadIsFinished() {
    System.clearProperty(KernelOptions.CUDA_SYNCHRONOUS);
    try (Arena arena = Arena.ofConfined();
        Kernels kernels = Kernels.open(options());
        KernelMemory memory = kernels.memory()) {
      assertThat(memory.isHost()).isFalse();
      MemorySegment gradient = memory.allocate(12);
      MemorySegment fisher = memory.allocate(12);
      MemorySegment host = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, -2, 3);
      memory.write(host, gradient);
      kernels.addSquares(gradient, 2, fisher, 3);
      kernels.addSquares(gradient, 1, fisher, 3);
      assertThat(fisher.toArray(ValueLayout.JAVA_FLOAT)).isNotEqualTo(new float[] {3, 12, 27});
      memory.read(fisher, host);
      assertThat(host.toArray(ValueLayout.JAVA_FLOAT)).containsExactly(3, 12, 27);
      memory.clear(fisher);
      memory.read(fisher, host);
      assertThat(host.toArray(ValueLayout.JAVA_FLOAT)).containsExactly(0, 0, 0);
    } finally {
      System.setProperty(KernelOptions.CUDA_SYNCHRONOUS, "true");
    }
  }

  @ParameterizedTest
  @EnumSource(ElementType.class)
  void anEmptyAverageIsNothing(ElementType type) {
    try (Kernels kernels = Kernels.open(options())) {
      WeightedInput input =
          new WeightedInput(MemorySegment.NULL, type, null, ElementType.F32, 0, 1);
      assertThat(
              kernels.weightedAverages(
                  List.of(new WeightedAverage(List.of(input), MemorySegment.NULL, type, 0)),
                  List.of()))
          .containsExactly(new WeightedAverage.Statistics(List.of(), ValueStatistics.EMPTY));
    }
  }
}
