package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.torch.LibTorchPeer;

/** {@code benchmarks/run merge}: the merge kernel against this machine's memory. */
public final class MergeReport {
  private static final int MODELS = 8;

  private MergeReport() {}

  /** Prints the report; {@code --quick} for fewer rounds. */
  public static void main(String[] args) {
    boolean quick = Arrays.asList(args).contains("--quick");
    int rounds = quick ? 5 : 15;
    // Far larger than any cache, small enough for a laptop: 8 x (16 + 16) MiB in fp32.
    long count = quick ? 4L << 20 : 16L << 20;
    Report report = new Report();
    try (Kernels kernels = Kernels.open()) {
      report.line("%s, %d models with Fishers, %,d values each", kernels.info(), MODELS, count);
      report.line("%-28s %10s %14s", "", "GB/s", "of read speed");
      for (ElementType type : List.of(ElementType.F32, ElementType.BF16, ElementType.F16)) {
        try (MergeWork work = new MergeWork(MODELS, type, count, 1);
            ReadBandwidth read = new ReadBandwidth(work.bytes())) {
          double[] seconds =
              Stopwatch.best(
                  rounds, () -> work.run(kernels), read::torch, () -> read.statistics(kernels));
          double merge = work.bytes() / seconds[0] / 1e9;
          double limit = read.bytes() / Math.min(seconds[1], seconds[2]) / 1e9;
          report.line("read, best of two readers     %10.2f", limit);
          report.line("weighted average %-11s %10.2f %14.3f", type, merge, merge / limit);
          report.ratio(
              "merge_" + type.name().toLowerCase(Locale.ROOT) + "_over_read", merge / limit);
        }
      }
    }
    report.finish();
  }

  /**
   * Plain reading of as many bytes as the merge moves, by two readers that we did not tune for it.
   */
  private static final class ReadBandwidth implements AutoCloseable {
    private final LibTorchPeer peer;
    private final long bytes;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment values;

    ReadBandwidth(long bytes) {
      this.bytes = bytes / 4096 * 4096;
      this.peer = new LibTorchPeer(this.bytes / 4096, 1024, 0);
      this.values = arena.allocate(this.bytes, 4096).fill((byte) 1);
    }

    long bytes() {
      return bytes;
    }

    void torch() {
      peer.sum();
    }

    void statistics(Kernels kernels) {
      kernels.statistics(List.of(new TypedValues(values, ElementType.F32)), 0);
    }

    @Override
    public void close() {
      peer.close();
      arena.close();
    }
  }
}
