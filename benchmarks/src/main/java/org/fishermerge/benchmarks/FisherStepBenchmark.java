package org.fishermerge.benchmarks;

import java.io.IOException;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
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
 * The whole Fisher step of a small batch at ViT-B/32's shape; its numbers are held by the golden
 * vectors of java/torch.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 1,
    jvmArgsAppend = {
      "--enable-native-access=ALL-UNNAMED",
      "-Dorg.bytedeco.javacpp.maxphysicalbytes=0"
    })
public class FisherStepBenchmark {
  /** Pictures of the batch. */
  @Param("4")
  public int batch = 4;

  private @Nullable Kernels kernels;
  private @Nullable FisherStepWork work;

  /** Writes and loads a model with random weights. */
  @Setup
  public void setUp() throws IOException {
    kernels = Kernels.open();
    work = new FisherStepWork(ClipShape.B32, batch, kernels);
  }

  /** One batch, one probe. */
  @Benchmark
  public void fisher() {
    Objects.requireNonNull(work).fisher();
  }

  /** Frees everything. */
  @TearDown
  public void tearDown() throws IOException {
    Objects.requireNonNull(work).close();
    Objects.requireNonNull(kernels).close();
  }
}
