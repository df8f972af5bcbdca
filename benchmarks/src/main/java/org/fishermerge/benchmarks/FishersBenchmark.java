package org.fishermerge.benchmarks;

import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.ValueStatistics;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The kernels that only read Fishers: similarities between them, and sums of squares with checks of
 * values. Their twin tests are in BenchmarkTwinTest.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 1,
    jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED"})
public class FishersBenchmark {
  /** How many Fishers are read. */
  @Param({"2", "8", "64"})
  public int fishers = 8;

  /** Values of each. */
  @Param("1048576")
  public long count;

  private @Nullable Kernels kernels;
  private @Nullable FishersWork work;

  /** Allocates and fills the Fishers. */
  @Setup
  public void setUp() {
    kernels = Kernels.open();
    work = new FishersWork(fishers, count, 1);
  }

  /** One comparison of all pairs. */
  @Benchmark
  public PairSums compare() {
    return Objects.requireNonNull(work).pairSums(Objects.requireNonNull(kernels));
  }

  /** One reading of each for its statistics. */
  @Benchmark
  public List<ValueStatistics> statistics() {
    return Objects.requireNonNull(work).statistics(Objects.requireNonNull(kernels));
  }

  /** Frees everything. */
  @TearDown
  public void tearDown() {
    Objects.requireNonNull(work).close();
    Objects.requireNonNull(kernels).close();
  }
}
