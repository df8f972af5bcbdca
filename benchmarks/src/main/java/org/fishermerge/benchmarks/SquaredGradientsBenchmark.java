package org.fishermerge.benchmarks;

import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
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

/**
 * The fused squared-gradient kernel at CLIP layer shapes; its twin test is
 * SquaredGradientsBenchmarkTest.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 1,
    jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED"})
public class SquaredGradientsBenchmark {
  /** examples x tokens x outputs x inputs. */
  @Param({"16x50x768x768", "16x50x3072x768", "16x50x768x3072", "2x257x1024x4096"})
  public String shape = "16x50x768x768";

  private @Nullable Kernels kernels;
  private @Nullable SquaredGradientsWork work;

  /** Allocates and fills inputs and cotangents. */
  @Setup
  public void setUp() {
    kernels = Kernels.open();
    work = parse(shape);
  }

  /** The work that a shape names. */
  static SquaredGradientsWork parse(String shape) {
    int[] sizes = Pattern.compile("x").splitAsStream(shape).mapToInt(Integer::parseInt).toArray();
    return new SquaredGradientsWork(sizes[0], sizes[1], sizes[2], sizes[3], 1);
  }

  /** One layer of one batch. */
  @Benchmark
  public SquaredGradientsWork accumulate() {
    SquaredGradientsWork current = Objects.requireNonNull(work);
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
