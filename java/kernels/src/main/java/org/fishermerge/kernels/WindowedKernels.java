package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Kernels whose operands may lie in mapped files, of which each thread sees a window: see {@link
 * FileWindows}. Operands elsewhere are read where they are.
 */
final class WindowedKernels implements ElementKernels {
  /** Elements that a kernel is called for at once, where a range has more. */
  private static final long BLOCK = 16384;

  private final ElementKernels kernels;
  private final FileWindows windows;

  WindowedKernels(ElementKernels kernels, FileWindows windows) {
    this.kernels = kernels;
    this.windows = windows;
  }

  @Override
  public MemorySegment view(MemorySegment operand, ElementType type, long begin, long end) {
    return windows.hold(operand)
        ? read(windows.forCall(1), operand, type, begin, end)
        : kernels.view(operand, type, begin, end);
  }

  private static MemorySegment read(
      FileWindows.OfThread mine, MemorySegment operand, ElementType type, long begin, long end) {
    return mine.read(operand, begin * type.bytes(), end * type.bytes());
  }

  private static TypedValues read(
      FileWindows.OfThread mine, TypedValues operand, long begin, long end) {
    return new TypedValues(read(mine, operand.data(), operand.type(), begin, end), operand.type());
  }

  /** Work on a stretch of elements, with memory for its structs. */
  private interface Stretch {
    void run(long begin, long end, Arena arena);
  }

  private static RangeWork inStretches(Stretch stretch) {
    return (worker, begin, end) -> {
      for (long from = begin; from < end; from += BLOCK) {
        try (Arena arena = Arena.ofConfined()) {
          stretch.run(from, Math.min(end, from + BLOCK), arena);
        }
      }
    };
  }

  @Override
  public RangeWork weightedAverage(WeightedAverage average, Arena arena) {
    List<MemorySegment> operands = average.operands();
    if (!windows.holdAny(operands) && !windows.hold(average.out())) {
      return kernels.weightedAverage(average, arena);
    }
    return inStretches((begin, end, memory) -> {
      FileWindows.OfThread mine = windows.forCall(operands.size() + 1);
      MemorySegment out = write(mine, average.out(), average.outType(), begin, end);
      List<WeightedInput> inputs = new ArrayList<>(average.inputs().size());
      for (WeightedInput input : average.inputs()) {
        MemorySegment fisher = input.fisher();
        inputs.add(
            new WeightedInput(
                read(mine, input.values(), input.valueType(), begin, end),
                input.valueType(),
                fisher == null ? null : read(mine, fisher, input.fisherType(), begin, end),
                input.fisherType(),
                input.scale(),
                input.offset()));
      }
      kernels
          .weightedAverage(
              new WeightedAverage(
                  inputs,
                  average.base() == null ? null : read(mine, average.base(), begin, end),
                  average.scalingFactor(),
                  out,
                  average.outType(),
                  end - begin),
              memory)
          .run(0, 0, end - begin);
      mine.written(average.out(), begin * average.outType().bytes(), out);
    });
  }

  private static MemorySegment write(
      FileWindows.OfThread mine, MemorySegment out, ElementType type, long begin, long end) {
    return mine.write(out, begin * type.bytes(), end * type.bytes());
  }

  @Override
  public ValueStatistics statistics(
      MemorySegment x, ElementType type, long begin, long end, double threshold) {
    return windows.hold(x)
        ? kernels.statistics(
            read(windows.forCall(1), x, type, begin, end), type, 0, end - begin, threshold)
        : kernels.statistics(x, type, begin, end, threshold);
  }

  @Override
  public void pairSums(List<TypedValues> rows, long begin, long end, PairSums sums) {
    if (!windows.holdAny(rows.stream().map(TypedValues::data).toList())) {
      kernels.pairSums(rows, begin, end, sums);
      return;
    }
    FileWindows.OfThread mine = windows.forCall(rows.size());
    kernels.pairSums(
        rows.stream().map(row -> read(mine, row, begin, end)).toList(), 0, end - begin, sums);
  }

  @Override
  public RangeWork taskVectors(TaskVectorMix mix, Arena arena) {
    List<MemorySegment> operands =
        Stream.concat(
                Stream.of(mix.out(), mix.base().data()),
                mix.vectors().stream().map(TaskVector::values))
            .toList();
    if (!windows.holdAny(operands)) {
      return kernels.taskVectors(mix, arena);
    }
    return inStretches((begin, end, memory) -> {
      FileWindows.OfThread mine = windows.forCall(operands.size());
      MemorySegment out = write(mine, mix.out(), mix.outType(), begin, end);
      kernels
          .taskVectors(
              new TaskVectorMix(
                  mix.vectors().stream().map(vector -> read(mine, vector, begin, end)).toList(),
                  read(mine, mix.base(), begin, end),
                  mix.how(),
                  mix.factor(),
                  mix.first() + begin,
                  out,
                  mix.outType(),
                  end - begin),
              memory)
          .run(0, 0, end - begin);
      mine.written(mix.out(), begin * mix.outType().bytes(), out);
    });
  }

  private static TaskVector read(
      FileWindows.OfThread mine, TaskVector vector, long begin, long end) {
    return new TaskVector(
        read(mine, vector.values(), vector.type(), begin, end),
        vector.type(),
        vector.weight(),
        vector.rescale(),
        vector.kept());
  }

  @Override
  public TaskVectorNorms taskVectorNorms(
      TaskVector vector, TypedValues base, long first, long begin, long end) {
    if (!windows.hold(vector.values()) && !windows.hold(base.data())) {
      return kernels.taskVectorNorms(vector, base, first, begin, end);
    }
    FileWindows.OfThread mine = windows.forCall(2);
    return kernels.taskVectorNorms(
        read(mine, vector, begin, end),
        read(mine, base, begin, end),
        first + begin,
        0,
        end - begin);
  }

  @Override
  public MagnitudeScan magnitudes(TypedValues values, TypedValues base, Arena arena) {
    if (!windows.hold(values.data()) && !windows.hold(base.data())) {
      return kernels.magnitudes(values, base, arena);
    }
    return new MagnitudeScan() {
      @Override
      public Counts scan(float low, float high, MemorySegment found, long begin, long end) {
        FileWindows.OfThread mine = windows.forCall(2);
        try (Arena memory = Arena.ofConfined()) {
          return kernels
              .magnitudes(read(mine, values, begin, end), read(mine, base, begin, end), memory)
              .scan(low, high, found, 0, end - begin);
        }
      }

      @Override
      public void sample(MemorySegment places, long groups, MemorySegment sample) {
        try (Arena memory = Arena.ofConfined()) {
          // Groups behind each other, in memory: a group of a mapping would cost a fault.
          MemorySegment begins = memory.allocate(JAVA_LONG, groups);
          for (long g = 0; g < groups; g++) {
            begins.setAtIndex(JAVA_LONG, g, g * GROUP);
          }
          kernels
              .magnitudes(
                  gathered(values, places, groups, memory),
                  gathered(base, places, groups, memory),
                  memory)
              .sample(begins, groups, sample);
        }
      }
    };
  }

  private TypedValues gathered(
      TypedValues operand, MemorySegment places, long groups, Arena memory) {
    long width = operand.type().bytes();
    MemorySegment all = memory.allocate(groups * MagnitudeScan.GROUP * width, 64);
    long into = 0;
    for (long g = 0; g < groups; ) {
      long from = places.getAtIndex(JAVA_LONG, g);
      long to = from;
      while (g < groups && places.getAtIndex(JAVA_LONG, g) == to) {
        to += MagnitudeScan.GROUP; // groups that follow each other are read at once
        g++;
      }
      long bytes = (to - from) * width;
      windows.copy(operand.data().asSlice(from * width, bytes), all.asSlice(into, bytes));
      into += bytes;
    }
    return new TypedValues(all, operand.type());
  }
}
