package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;

/** What the kernels that only read do to several F32 Fishers in memory. */
public final class FishersWork implements AutoCloseable {
  private static final double THRESHOLD = 1e-6;

  private final Arena arena = Arena.ofShared();
  private final List<TypedValues> rows = new ArrayList<>();
  private final long count;

  /** {@code fishers} Fishers of {@code count} values. */
  public FishersWork(int fishers, long count, long seed) {
    this.count = count;
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < fishers; i++) {
      MemorySegment fisher = arena.allocate(count * Float.BYTES, 4096);
      for (long j = 0; j < count; j++) {
        double u = random.nextDouble();
        fisher.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) (1e-4 * u * u * u * u));
      }
      rows.add(new TypedValues(fisher, ElementType.F32));
    }
  }

  /** The comparison of each with each, once. */
  public PairSums pairSums(Kernels kernels) {
    return kernels.pairSums(rows, count);
  }

  /** What a merge asks of each before it, once. */
  public List<ValueStatistics> statistics(Kernels kernels) {
    return kernels.statistics(rows, THRESHOLD);
  }

  @Override
  public void close() {
    arena.close();
  }
}
