package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The contract at every instruction set; one that this machine lacks, or another architecture has,
 * is skipped by name.
 */
class CpuKernelsTest {
  abstract static class AtTier extends KernelContract {
    private final String isa;

    AtTier(String isa) {
      this.isa = isa;
    }

    @BeforeEach
    void requireTier() {
      assumeTrue(
          Arrays.asList(NativeBindings.isaList()).contains(isa),
          () -> isa + " is not of this architecture: skipped");
      assumeTrue(
          new CpuKernels(isa).isa().equals(isa),
          () -> "this machine cannot run " + isa + ": skipped");
    }

    @Override
    KernelOptions options() {
      return options("cpu", isa);
    }

    @Test
    void runsAtThisTier() {
      try (Kernels kernels = Kernels.open(options())) {
        assertThat(kernels.info().isa()).isEqualTo(isa);
      }
    }
  }

  @Nested
  class Baseline extends AtTier {
    Baseline() {
      super("baseline");
    }
  }

  @Nested
  class Avx2 extends AtTier {
    Avx2() {
      super("avx2");
    }
  }

  @Nested
  class Avx512 extends AtTier {
    Avx512() {
      super("avx512");
    }
  }

  @Nested
  class Neon extends AtTier {
    Neon() {
      super("neon");
    }
  }

  @Test
  void theTestsAboveCoverEveryTierOfTheLibrary() {
    assertThat(List.of("baseline", "avx2", "avx512", "neon")).contains(NativeBindings.isaList());
  }

  @Test
  void pairSumsHaveTheScalarBits() {
    long seed = 11;
    int count = 70_003;
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined();
        Kernels scalar = Kernels.open(KernelContract.options("scalar", "auto"));
        Kernels cpu = Kernels.open(KernelContract.options("cpu", "auto"))) {
      List<TypedValues> rows = new ArrayList<>();
      for (int p = 0; p < 7; p++) {
        MemorySegment values = arena.allocate(4L * count);
        for (int j = 0; j < count; j++) {
          values.set(ValueLayout.JAVA_FLOAT, 4L * j, (float) Math.exp(random.nextDouble(-60, 0)));
        }
        rows.add(new TypedValues(values, ElementType.F32));
      }
      PairSums expected = scalar.pairSums(rows, count);
      PairSums actual = cpu.pairSums(rows, count);
      assertThat(actual.products()).as("seed %d", seed).isEqualTo(expected.products());
      assertThat(actual.roots()).as("seed %d", seed).isEqualTo(expected.roots());
    }
  }

  @Test
  void averageAndNormHaveTheScalarBits() {
    long seed = 7;
    int count = 100_003;
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined();
        Kernels scalar = Kernels.open(KernelContract.options("scalar", "auto"));
        Kernels cpu = Kernels.open(KernelContract.options("cpu", "auto"))) {
      List<WeightedInput> inputs = new ArrayList<>();
      for (int m = 0; m < 5; m++) {
        MemorySegment values = arena.allocate(4L * count);
        MemorySegment fisher = arena.allocate(4L * count);
        for (int j = 0; j < count; j++) {
          values.set(ValueLayout.JAVA_FLOAT, 4L * j, (float) random.nextGaussian());
          fisher.set(ValueLayout.JAVA_FLOAT, 4L * j, (float) Math.exp(random.nextDouble(-30, 0)));
        }
        inputs.add(
            new WeightedInput(values, ElementType.F32, fisher, ElementType.F32, 0.1 + m, 1e-6));
      }
      for (ElementType type : ElementType.values()) {
        MemorySegment expected = arena.allocate((long) type.bytes() * count);
        MemorySegment actual = arena.allocate((long) type.bytes() * count);
        scalar.weightedAverage(new WeightedAverage(inputs, expected, type, count));
        cpu.weightedAverage(new WeightedAverage(inputs, actual, type, count));
        assertThat(actual.mismatch(expected)).as("%s, seed %d", type, seed).isEqualTo(-1);
        assertThat(cpu.statistics(List.of(new TypedValues(actual, type)), 0.1))
            .isEqualTo(scalar.statistics(List.of(new TypedValues(expected, type)), 0.1));
      }
    }
  }

  /** A file under the descriptor that is unlike the mapped one says which of the two is used. */
  @Test
  void filesAreReadAndWrittenByTheirDescriptors(@TempDir Path folder) throws IOException {
    Path mapped = Files.write(folder.resolve("mapped"), new byte[64]);
    byte[] ones = new byte[64];
    MemorySegment.ofArray(ones).set(ValueLayout.JAVA_FLOAT_UNALIGNED, 0, 1.5f);
    Path open = Files.write(folder.resolve("open"), ones);
    try (TestFile file = new TestFile(mapped, open);
        Kernels kernels = Kernels.open(KernelContract.options("cpu", "auto"))) {
      MemorySegment data = file.mapped().mapping();
      WeightedInput input =
          new WeightedInput(data.asSlice(0, 4), ElementType.F32, null, ElementType.F32, 0, 1);
      WeightedAverage average =
          new WeightedAverage(List.of(input), data.asSlice(8, 4), ElementType.F32, 1);
      try (MappedGuard _ = kernels.guard(List.of(file.mapped()))) {
        kernels.weightedAverage(average);
      }
      assertThat(data.get(ValueLayout.JAVA_FLOAT, 8)).as("mapped").isEqualTo(0);
      assertThat(
              MemorySegment.ofArray(Files.readAllBytes(open))
                  .get(ValueLayout.JAVA_FLOAT_UNALIGNED, 8))
          .isEqualTo(1.5f);
      kernels.weightedAverage(average);
      assertThat(data.get(ValueLayout.JAVA_FLOAT, 8)).as("the guard is closed").isEqualTo(0);
    }
  }

  /** What is not there any more is zero, and the guard tells. */
  @Test
  void aFileThatIsCutShortReadsAsZeros(@TempDir Path folder) throws IOException {
    int count = 50_000;
    try (TestFile file = new TestFile(folder.resolve("file"), 4L * count);
        Arena arena = Arena.ofShared();
        Kernels kernels = Kernels.open(KernelContract.options("cpu", "auto"))) {
      MemorySegment data = file.mapped().mapping();
      for (long j = 0; j < count; j++) {
        data.setAtIndex(ValueLayout.JAVA_FLOAT, j, 2);
      }
      MemorySegment out = arena.allocate(4L * count);
      MappedFile readOnly = new MappedFile(data.asReadOnly(), file.mapped().descriptor());
      MappedGuard guard = kernels.guard(List.of(readOnly));
      try (FileChannel channel =
          FileChannel.open(folder.resolve("file"), StandardOpenOption.WRITE)) {
        channel.truncate(40_000);
      }
      WeightedInput input = new WeightedInput(data, ElementType.F32, null, ElementType.F32, 0, 1);
      kernels.weightedAverage(new WeightedAverage(List.of(input), out, ElementType.F32, count));
      guard.close();
      assertThat(guard.damaged()).containsExactly(folder.resolve("file").toString());
      assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, 9_999)).isEqualTo(2);
      assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, count - 1)).isEqualTo(0);
    }
  }

  /** Zeros in place of what a disk does not give back would be a wrong merge. */
  @Test
  void whatTheSystemRefusesIsSaidAndNamesTheFile(@TempDir Path folder) throws IOException {
    Path mapped = Files.write(folder.resolve("mapped"), new byte[64]);
    // Nothing is at address 0 of this process: an input/output error.
    try (TestFile full = new TestFile(mapped, Path.of("/dev/full"));
        TestFile file = new TestFile(mapped, Path.of("/proc/self/mem"));
        Kernels kernels = Kernels.open(KernelContract.options("cpu", "auto"))) {
      refuses(kernels, file, file.mapped().mapping(), "/mem: cannot be read");
      refuses(kernels, full, full.mapped().mapping(), "/dev/full: cannot be written");
    }
  }

  private static void refuses(Kernels kernels, TestFile file, MemorySegment data, String said) {
    WeightedInput input =
        new WeightedInput(data.asSlice(0, 4), ElementType.F32, null, ElementType.F32, 0, 1);
    WeightedAverage average =
        new WeightedAverage(List.of(input), data.asSlice(8, 4), ElementType.F32, 1);
    try (MappedGuard _ = kernels.guard(List.of(file.mapped()))) {
      assertThatThrownBy(() -> kernels.weightedAverage(average))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageContaining(said);
    }
  }
}
