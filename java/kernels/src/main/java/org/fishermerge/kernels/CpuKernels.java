package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** The native kernels at one instruction set. */
final class CpuKernels implements KernelProvider {
  /** Blocks of squared gradients that the kernel joins where one range has so many. */
  private static final long NEIGHBOURS = 4;

  private static final long ALIGNMENT = 64;

  /** Rows that the scratch of {@code fm_pair_sums} has beyond the given ones. */
  private static final int PAIR_SPARE_ROWS = 3;

  /** A {@code fm_value_statistics} for each thread; calls are short and many. */
  private static final ThreadLocal<MemorySegment> STATISTICS =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(NativeStructs.VALUE_STATISTICS));

  /** A {@code fm_magnitude_counts} for each thread, or what is smaller. */
  private static final ThreadLocal<MemorySegment> MAGNITUDES =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(NativeStructs.MAGNITUDE_COUNTS));

  private final long table;
  private final String isa;

  /**
   * The best instruction set up to a limit.
   *
   * @throws IllegalArgumentException for an unknown instruction set
   * @throws UnsatisfiedLinkError if the library did not load
   */
  CpuKernels(String maxIsa) {
    table = NativeBindings.open(maxIsa);
    isa = NativeBindings.isaName(table);
  }

  @Override
  public Provider provider() {
    return Provider.CPU;
  }

  @Override
  public boolean isNative() {
    return true;
  }

  @Override
  public String isa() {
    return isa;
  }

  @Override
  public RangeWork weightedAverage(WeightedAverage average, Arena arena) {
    List<WeightedInput> inputs = average.inputs();
    long address = NativeStructs.weightedInputs(inputs, arena);
    long count = inputs.size();
    long base = NativeStructs.valuesOrNull(average.base(), arena);
    double scalingFactor = average.scalingFactor();
    long target = average.out().address();
    int type = NativeStructs.code(average.outType());
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.Averages.WEIGHTED_AVERAGE.invokeExact(
                    table, address, count, base, scalingFactor, target, type, begin, end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }

  @Override
  public ValueStatistics statistics(
      MemorySegment x, ElementType type, long begin, long end, double threshold) {
    MemorySegment result = STATISTICS.get();
    try {
      NativeBindings.check(
          (int)
              NativeBindings.Sums.STATISTICS.invokeExact(
                  table,
                  x.address(),
                  NativeStructs.code(type),
                  begin,
                  end,
                  threshold,
                  result.address()));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
    return NativeStructs.valueStatistics(result, 0);
  }

  @Override
  public void pairSums(List<TypedValues> rows, long begin, long end, PairSums sums) {
    double[] products = sums.products();
    double[] roots = sums.roots();
    try (Arena arena = Arena.ofConfined()) {
      long array = NativeStructs.values(rows, arena);
      long scratch = NativeStructs.PAIR_SUMS_SCRATCH * (rows.size() + PAIR_SPARE_ROWS);
      MemorySegment space =
          arena.allocate((scratch + products.length + roots.length) * Double.BYTES, ALIGNMENT);
      MemorySegment productSums = space.asSlice(scratch * Double.BYTES);
      MemorySegment rootSums = productSums.asSlice((long) products.length * Double.BYTES);
      NativeBindings.check(
          (int)
              NativeBindings.Sums.PAIR_SUMS.invokeExact(
                  table,
                  array,
                  (long) rows.size(),
                  space.address(),
                  productSums.address(),
                  rootSums.address(),
                  begin,
                  end));
      MemorySegment.copy(productSums, JAVA_DOUBLE, 0, products, 0, products.length);
      MemorySegment.copy(rootSums, JAVA_DOUBLE, 0, roots, 0, roots.length);
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  @Override
  public RangeWork taskVectors(TaskVectorMix mix, Arena arena) {
    long vectors = NativeStructs.taskVectors(mix.vectors(), arena);
    long count = mix.vectors().size();
    long base = NativeStructs.values(List.of(mix.base()), arena);
    int how = NativeStructs.code(mix.how());
    long target = mix.out().address();
    int type = NativeStructs.code(mix.outType());
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.TaskVectors.TASK_VECTORS.invokeExact(
                    table,
                    vectors,
                    count,
                    base,
                    how,
                    mix.factor(),
                    mix.first(),
                    target,
                    type,
                    begin,
                    end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }

  @Override
  public MagnitudeScan magnitudes(TypedValues values, TypedValues base, Arena arena) {
    long row = NativeStructs.values(List.of(values), arena);
    long other = NativeStructs.values(List.of(base), arena);
    return new MagnitudeScan() {
      @Override
      public Counts scan(float low, float high, MemorySegment found, long begin, long end) {
        MemorySegment counts = MAGNITUDES.get();
        try {
          NativeBindings.check(
              (int)
                  NativeBindings.Magnitudes.MAGNITUDES.invokeExact(
                      table, row, other, low, high, found.address(), counts.address(), begin, end));
        } catch (Throwable e) {
          throw NativeBindings.rethrow(e);
        }
        return NativeStructs.magnitudeCounts(counts);
      }

      @Override
      public void sample(MemorySegment places, long groups, MemorySegment sample) {
        try {
          NativeBindings.check(
              (int)
                  NativeBindings.Magnitudes.SAMPLE_MAGNITUDES.invokeExact(
                      table, row, other, places.address(), groups, sample.address()));
        } catch (Throwable e) {
          throw NativeBindings.rethrow(e);
        }
      }
    };
  }

  @Override
  public SelectedMagnitude selectMagnitude(
      MemorySegment magnitudes, long count, long rank, float least, float most) {
    MemorySegment selected = MAGNITUDES.get();
    try {
      NativeBindings.check(
          (int)
              NativeBindings.Magnitudes.SELECT_MAGNITUDE.invokeExact(
                  table, magnitudes.address(), count, rank, least, most, selected.address()));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
    return NativeStructs.selectedMagnitude(selected);
  }

  @Override
  public long countEqual(MemorySegment numbers, long count, float number) {
    MemorySegment equal = MAGNITUDES.get();
    try {
      NativeBindings.check(
          (int)
              NativeBindings.Magnitudes.COUNT_EQUAL.invokeExact(
                  table, numbers.address(), count, number, equal.address()));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
    return equal.get(JAVA_LONG, 0);
  }

  @Override
  public TaskVectorNorms taskVectorNorms(
      TaskVector vector, TypedValues base, long first, long begin, long end) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment norms = arena.allocate(JAVA_DOUBLE, 2);
      NativeBindings.check(
          (int)
              NativeBindings.TaskVectors.TASK_VECTOR_NORMS.invokeExact(
                  table,
                  NativeStructs.taskVectors(List.of(vector), arena),
                  NativeStructs.values(List.of(base), arena),
                  first,
                  norms.address(),
                  begin,
                  end));
      return new TaskVectorNorms(
          norms.getAtIndex(JAVA_DOUBLE, 0), norms.getAtIndex(JAVA_DOUBLE, 1));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
  }

  @Override
  public RangeWork addSquares(MemorySegment gradient, double scale, MemorySegment fisher) {
    long source = gradient.address();
    long target = fisher.address();
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.Squares.SQUARE_ACCUMULATE.invokeExact(
                    table, source, scale, target, begin, end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }

  /** Sizes as {@code fm_squared_gradients_plan} gives them: floats, and items of each step. */
  private record Plan(
      long packedG, long packedA, long scratch, long packGItems, long packAItems, long blocks) {
    long offsetA() {
      return align(packedG * 4);
    }

    long offsetScratch() {
      return offsetA() + align(packedA * 4);
    }

    long scratchBytes() {
      return align(scratch * 4);
    }

    private static long align(long bytes) {
      return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
    }
  }

  private Plan plan(long g, long a, Arena arena) {
    MemorySegment plan = arena.allocate(NativeStructs.SQUARED_GRADIENTS_PLAN);
    try {
      NativeBindings.check(
          (int)
              NativeBindings.Squares.SQUARED_GRADIENTS_PREPARE.invokeExact(
                  table, g, a, plan.address()));
    } catch (Throwable e) {
      throw NativeBindings.rethrow(e);
    }
    long[] fields = NativeStructs.longs(plan, NativeStructs.SQUARED_GRADIENTS_PLAN);
    return new Plan(
        fields[NativeStructs.PLAN_PACKED_G],
        fields[NativeStructs.PLAN_PACKED_A],
        fields[NativeStructs.PLAN_SCRATCH],
        fields[NativeStructs.PLAN_PACK_G_ITEMS],
        fields[NativeStructs.PLAN_PACK_A_ITEMS],
        fields[NativeStructs.PLAN_BLOCKS]);
  }

  @Override
  public long squaredGradientsBytes(Batch batch, long inputs, int threads) {
    try (Arena arena = Arena.ofConfined()) {
      Activations any = new Activations(batch.g().data(), 0, 0);
      Plan plan =
          plan(
              NativeStructs.cotangents(batch, arena),
              NativeStructs.activations(any, inputs, arena),
              arena);
      return plan.offsetScratch() + threads * plan.scratchBytes();
    }
  }

  @Override
  public List<WorkerPool.Step> squaredGradients(
      Batch batch,
      Activations activations,
      long inputs,
      MemorySegment fisher,
      MemorySegment workspace,
      int threads,
      Arena arena) {
    long g = NativeStructs.cotangents(batch, arena);
    long a = NativeStructs.activations(activations, inputs, arena);
    Plan plan = plan(g, a, arena);
    long examples = batch.shape().examples();
    long tokens = batch.shape().tokens();
    long packedG = workspace.address();
    long packedA = packedG + plan.offsetA();
    long scratch = packedG + plan.offsetScratch();
    long target = fisher.address();
    // The panels of g, then those of a: one step, so that threads meet once.
    RangeWork pack =
        (worker, begin, end) -> {
          long split = plan.packGItems();
          try {
            if (begin < split) {
              NativeBindings.check(
                  (int)
                      NativeBindings.Squares.SQUARED_GRADIENTS_PACK_G.invokeExact(
                          table, g, packedG, begin, Math.min(end, split)));
            }
            if (end > split) {
              NativeBindings.check(
                  (int)
                      NativeBindings.Squares.SQUARED_GRADIENTS_PACK_A.invokeExact(
                          table,
                          a,
                          examples,
                          tokens,
                          packedA,
                          Math.max(begin, split) - split,
                          end - split));
            }
          } catch (Throwable e) {
            throw NativeBindings.rethrow(e);
          }
        };
    RangeWork blocks =
        (worker, begin, end) -> {
          try {
            NativeBindings.check(
                (int)
                    NativeBindings.Squares.SQUARED_GRADIENTS_BLOCKS.invokeExact(
                        table,
                        g,
                        a,
                        packedG,
                        packedA,
                        scratch + worker * plan.scratchBytes(),
                        target,
                        begin,
                        end));
          } catch (Throwable e) {
            throw NativeBindings.rethrow(e);
          }
        };
    long panels = plan.packGItems() + plan.packAItems();
    return List.of(
        new WorkerPool.Step(panels, grain(panels, threads), pack),
        new WorkerPool.Step(plan.blocks(), NEIGHBOURS, 1, blocks));
  }

  /** About eight ranges for each thread. */
  private static long grain(long items, int threads) {
    return Math.max(1, Math.ceilDiv(items, 8L * threads));
  }

  @Override
  public RangeWork addTokenSumSquares(Batch batch, MemorySegment fisher, Arena arena) {
    long g = NativeStructs.cotangents(batch, arena);
    long target = fisher.address();
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.Squares.TOKEN_SUM_SQUARES.invokeExact(table, g, target, begin, end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }

  @Override
  public RangeWork addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift,
      Arena arena) {
    long g = NativeStructs.cotangents(batch, arena);
    long a = NativeStructs.activations(x, batch.width(), arena);
    long means = mean.address();
    long rstds = rstd.address();
    long scales = fisherScale.address();
    long shifts = fisherShift.address();
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.Squares.LAYER_NORM_SQUARES.invokeExact(
                    table, g, a, means, rstds, scales, shifts, begin, end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }

  @Override
  public RangeWork addEmbeddingSquares(
      Batch batch, MemorySegment ids, long rows, MemorySegment fisher, Arena arena) {
    long g = NativeStructs.cotangents(batch, arena);
    long positions = ids.address();
    long target = fisher.address();
    return (worker, begin, end) -> {
      try {
        NativeBindings.check(
            (int)
                NativeBindings.Squares.EMBEDDING_SQUARES.invokeExact(
                    table, g, positions, rows, target, begin, end));
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
    };
  }
}
