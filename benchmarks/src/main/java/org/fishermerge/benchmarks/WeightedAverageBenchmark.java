package org.fishermerge.benchmarks;

import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
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

/** The merge kernel on eight models in memory; its twin test is in BenchmarkTwinTest. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 1,
    jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED"})
public class WeightedAverageBenchmark {
  /** Dtype of the models. */
  @Param({"F32", "F16", "BF16"})
  public String type = "F32";

  /** Values of each model. */
  @Param("4194304")
  public long count;

  private @Nullable Kernels kernels;
  private @Nullable MergeWork work;

  /** Allocates and fills the models. */
  @Setup
  public void setUp() {
    kernels = Kernels.open();
    work = new MergeWork(8, ElementType.valueOf(type), count, 1);
  }

  /** One merge. */
  @Benchmark
  public MergeWork merge() {
    MergeWork current = Objects.requireNonNull(work);
    current.run(Objects.requireNonNull(kernels));
    return current;
  }

  /** Frees everything. */
  @TearDown
  public void tearDown() {
    Objects.requireNonNull(work).close();
    Objects.requireNonNull(kernels).close();
  }
}
