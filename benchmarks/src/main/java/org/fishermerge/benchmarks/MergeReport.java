package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Locale;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.torch.LibTorchPeer;

/**
 * {@code benchmarks/run merge}: the merge kernel against this machine's memory, the {@code merge}
 * command against plain reading and copying of its files, and how long a small merge takes. With
 * {@code --peers PYTHON} also against FusionBench's formula in PyTorch.
 */
public final class MergeReport {
  private static final int MODELS = 8;
  // 18.9 million values a model: the pool that FusionBench's formula was first timed on.
  private static final int PEER_TENSORS = 8;
  private static final int PEER_SIZE = 1536;

  private MergeReport() {}

  /**
   * Prints the report; {@code --quick} for fewer rounds and ViT-B/32 in place of ViT-L/14 on disk.
   */
  public static void main(String[] args) throws IOException, InterruptedException {
    try {
      report(ReportOptions.of(args));
    } catch (InputException e) {
      System.err.println("benchmarks/run merge: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void report(ReportOptions options) throws IOException, InterruptedException {
    Report report = new Report();
    int rounds = options.quick() ? 5 : 15;
    try (Kernels kernels = Kernels.open()) {
      inMemory(report, kernels, options.quick() ? 4L << 20 : 16L << 20, rounds);
      DiskMerge.largeAndSmall(report, options.quick(), MODELS);
      if (options.peers() != null) {
        overFusionBench(report, kernels, options.peers(), rounds);
      } else {
        report.line(
            "FusionBench's formula in PyTorch beside it: --peers PYTHON, where"
                + " benchmarks/peers/requirements.txt is installed");
      }
    }
    report.finish();
  }

  /** Of 8 x (16 + 16) MiB at least: far larger than any cache, small enough for a laptop. */
  private static void inMemory(Report report, Kernels kernels, long count, int rounds) {
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
        report.ratio("merge_" + type.name().toLowerCase(Locale.ROOT) + "_over_read", merge / limit);
      }
    }
  }

  /**
   * Normalised by the norms of the Fishers, which our Fisher files state and FusionBench computes.
   */
  private static void overFusionBench(Report report, Kernels kernels, String python, int rounds) {
    long count = (long) PEER_TENSORS * PEER_SIZE * PEER_SIZE;
    try (PythonPeers peers =
            new PythonPeers(
                python,
                PythonPeers.script("merge_peer.py"),
                MODELS,
                PEER_TENSORS,
                PEER_SIZE,
                kernels.info().threads());
        MergeWork work = new MergeWork(MODELS, ElementType.F32, count, 1)) {
      double[] seconds =
          Stopwatch.best(
              Math.min(rounds, 5),
              () -> work.run(kernels),
              () -> work.runWithNorms(kernels),
              () -> peers.run("merge"));
      report.line("%n%d models of %,d values in memory, seconds", MODELS, count);
      report.line("%-42s %10.4f", "ours, norms stated", seconds[0]);
      report.line("%-42s %10.4f", "ours, norms computed too", seconds[1]);
      report.line("%-42s %10.4f", "FusionBench's formula, " + peers.versions(), seconds[2]);
      report.ratio("fusionbench_over_ours", seconds[2] / seconds[0]);
      report.ratio("fusionbench_over_ours_with_norms", seconds[2] / seconds[1]);
    }
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
