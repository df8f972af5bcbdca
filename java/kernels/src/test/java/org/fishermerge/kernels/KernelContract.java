package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.assertj.core.data.Percentage;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What every provider must do. The oracles here are plain loops in double and share no code with
 * any provider.
 */
@SuppressWarnings({"NarrowCalculation", "IntLongMath", "EnumOrdinal"}) // sizes here are small
abstract class KernelContract {
  private static final long SEED = 20260317;

  @TempDir Path folder;

  private final GuardedMemory memory = new GuardedMemory();
  private final Map<Integer, Kernels> opened = new HashMap<>();

  /** Options that select the implementation under test. */
  abstract KernelOptions options();

  /** Bytes that operands of Fisher accumulations are aligned to. */
  int alignment() {
    return 1;
  }

  /** Whether operands of squared gradients are packed into a workspace. */
  boolean packsOperands() {
    return true;
  }

  /**
   * Whether sums of squares that come with averages have the bits of {@link Kernels#statistics}.
   */
  boolean hasTheSumsOfStatistics() {
    return true;
  }

  private void assertSame(ValueStatistics actual, ValueStatistics expected) {
    if (hasTheSumsOfStatistics()) {
      assertThat(actual).isEqualTo(expected);
      return;
    }
    assertThat(actual.minimum()).isEqualTo(expected.minimum());
    assertThat(actual.below()).isEqualTo(expected.below());
    assertThat(actual.sumOfSquares())
        .isCloseTo(expected.sumOfSquares(), Percentage.withPercentage(1e-11));
  }

  /** The same ones at each call of a test. */
  private Kernels kernels(int threads) {
    return opened.computeIfAbsent(threads, n -> Kernels.open(options().withThreads(n)));
  }

  private Kernels kernels() {
    return kernels(2);
  }

  static KernelOptions options(String provider, String maxIsa) {
    return new KernelOptions(provider, maxIsa, Optional.empty(), 2);
  }

  @AfterEach
  void release() {
    opened.values().forEach(Kernels::close);
    memory.close();
  }

  // ---- weighted average ----

  record AverageCase(
      int models, int count, ElementType values, ElementType fisher, ElementType out, int shift) {}

  static Stream<AverageCase> averageCases() {
    SplittableRandom random = new SplittableRandom(SEED);
    List<AverageCase> cases = new ArrayList<>();
    int[] counts = {0, 1, 2, 3, 7, 8, 15, 17, 63, 64, 65, 1023, 1025, 2500};
    for (ElementType value : ElementType.values()) {
      for (ElementType out : ElementType.values()) {
        ElementType fisher = ElementType.values()[random.nextInt(4)];
        int count = counts[random.nextInt(counts.length)];
        cases.add(
            new AverageCase(1 + random.nextInt(9), count, value, fisher, out, random.nextInt(4)));
      }
    }
    for (int count : counts) {
      cases.add(
          new AverageCase(3, count, ElementType.F32, ElementType.F32, ElementType.F32, count % 4));
    }
    cases.add(new AverageCase(2, 70_003, ElementType.F32, ElementType.F32, ElementType.F32, 0));
    cases.add(new AverageCase(2, 5_003, ElementType.BF16, ElementType.F32, ElementType.BF16, 1));
    return cases.stream();
  }

  @ParameterizedTest
  @MethodSource("averageCases")
  void averagesAsTheFormulaSays(AverageCase c) {
    SplittableRandom random = new SplittableRandom(SEED + c.count());
    List<WeightedInput> inputs = new ArrayList<>();
    double[] numerator = new double[c.count()];
    double[] denominator = new double[c.count()];
    for (int m = 0; m < c.models(); m++) {
      MemorySegment values = guarded(c.count(), c.values(), c.shift());
      MemorySegment fisher = m % 4 == 3 ? null : guarded(c.count(), c.fisher(), c.shift());
      double scale = random.nextDouble(0.1, 2);
      double offset = random.nextDouble(0.001, 0.1);
      for (int j = 0; j < c.count(); j++) {
        double value = put(values, c.values(), j, random.nextDouble(-2, 2));
        double weight = offset;
        if (fisher != null) {
          weight = scale * put(fisher, c.fisher(), j, random.nextDouble(0, 3)) + offset;
        }
        numerator[j] = m == 0 ? weight * value : numerator[j] + weight * value;
        denominator[j] = m == 0 ? weight : denominator[j] + weight;
      }
      inputs.add(new WeightedInput(values, c.values(), fisher, c.fisher(), scale, offset));
    }
    MemorySegment out = guarded(c.count(), c.out(), c.shift());
    MemorySegment base = guarded(c.count(), c.fisher(), c.shift());
    double s = random.nextDouble(-1, 2);
    double[] moved = new double[c.count()];
    for (int j = 0; j < c.count(); j++) {
      double from = put(base, c.fisher(), j, random.nextDouble(-2, 2));
      moved[j] = from + s * (numerator[j] / denominator[j] - from);
    }

    kernels().weightedAverage(new WeightedAverage(inputs, out, c.out(), c.count()));

    for (int j = 0; j < c.count(); j++) {
      assertBits(bits(out, c.out(), j), round(numerator[j] / denominator[j], c.out()), c, j);
    }

    kernels()
        .weightedAverage(
            new WeightedAverage(
                inputs, new TypedValues(base, c.fisher()), s, out, c.out(), c.count()));

    for (int j = 0; j < c.count(); j++) {
      assertBits(bits(out, c.out(), j), round(moved[j], c.out()), c, j);
    }

    kernels().weightedAverage(new WeightedAverage(inputs, null, s, out, c.out(), c.count()));

    for (int j = 0; j < c.count(); j++) {
      assertBits(bits(out, c.out(), j), round(s * (numerator[j] / denominator[j]), c.out()), c, j);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = ElementType.class,
      names = {"F16", "BF16"})
  void readsEveryHalfPrecisionValue(ElementType type) {
    int count = 1 << 16;
    MemorySegment values = guarded(count, type, 0);
    MemorySegment out = guarded(count, ElementType.F64, 0);
    for (int j = 0; j < count; j++) {
      values.set(JAVA_SHORT_UNALIGNED, 2L * j, (short) j);
    }
    kernels()
        .weightedAverage(
            new WeightedAverage(List.of(constant(values, type, 1)), out, ElementType.F64, count));
    for (int j = 0; j < count; j++) {
      double expected = decode((short) j, type);
      double actual = out.get(JAVA_DOUBLE_UNALIGNED, 8L * j);
      assertBits(Double.doubleToLongBits(actual), Double.doubleToLongBits(expected), type, j);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = ElementType.class,
      names = {"F16", "BF16", "F32"})
  void roundsOnceToNearestEven(ElementType type) {
    Rounding rounding = ROUNDINGS.computeIfAbsent(type, KernelContract::rounding);
    int count = rounding.values().length;
    MemorySegment in = guarded(count, ElementType.F64, 0);
    MemorySegment out = guarded(count, type, 0);
    for (int j = 0; j < count; j++) {
      in.set(JAVA_DOUBLE_UNALIGNED, 8L * j, rounding.values()[j]);
    }
    kernels()
        .weightedAverage(
            new WeightedAverage(List.of(constant(in, ElementType.F64, 1)), out, type, count));
    for (int j = 0; j < count; j++) {
      assertBits(bits(out, type, j), rounding.bits()[j], type, rounding.values()[j]);
    }
  }

  /** Values and the bits that they are rounded to. */
  private record Rounding(double[] values, long[] bits) {}

  /** Each is made once for all providers. */
  private static final Map<ElementType, Rounding> ROUNDINGS = new ConcurrentHashMap<>();

  private static Rounding rounding(ElementType type) {
    List<Double> values = new ArrayList<>();
    SplittableRandom random = new SplittableRandom(SEED);
    int step = type == ElementType.F32 ? 65537 : 1;
    long top = type == ElementType.F32 ? 0x7F80_0000L : type == ElementType.F16 ? 0x7C00 : 0x7F80;
    for (long bits = 0; bits < top; bits += step) {
      double low = decodeBits(bits, type);
      double high =
          bits + 1 == top ? 2 * low - decodeBits(bits - 1, type) : decodeBits(bits + 1, type);
      double middle = low + (high - low) / 2;
      values.add(low);
      values.add(middle);
      values.add(Math.nextUp(middle));
      values.add(Math.nextDown(middle));
      // Just beyond a tie by less than float can tell: going through float would round to the tie
      // first.
      values.add(middle + (high - low) * 0x1p-35);
      values.add(low + (high - low) * random.nextDouble());
    }
    values.addAll(
        List.of(
            0.0,
            Double.MIN_VALUE,
            Double.MAX_VALUE,
            Double.POSITIVE_INFINITY,
            Double.NaN,
            65519.999,
            65520.0,
            0x1p-25,
            0x1.8p-25,
            0x1p-134,
            0x1.0001p-134,
            0x1p-150));
    int count = 2 * values.size();
    double[] signed = new double[count];
    long[] bits = new long[count];
    for (int j = 0; j < count; j++) {
      double x = values.get(j / 2);
      signed[j] = j % 2 == 0 ? x : -x;
      bits[j] = round(signed[j], type);
    }
    return new Rounding(signed, bits);
  }

  @Test
  void averageOfSpecialValuesFollowsIeee() {
    double inf = Double.POSITIVE_INFINITY;
    double nan = Double.NaN;
    double[][] rows = { // value 1, weight 1, value 2, weight 2, expected
      {1, 0, 2, 0, nan},
      {1, 0, 2, 1, 2},
      {nan, 0, 2, 1, nan},
      {inf, 1, 2, 1, inf},
      {inf, 1, -inf, 1, nan},
      {1, inf, 2, 1, nan},
      {1, nan, 2, 1, nan},
      {-0.0, 1, -0.0, 1, -0.0},
      {0x1p-149, 1, 0x1p-149, 1, 0x1p-149},
    };
    MemorySegment[] columns = new MemorySegment[4];
    for (int c = 0; c < 4; c++) {
      columns[c] = guarded(rows.length, ElementType.F32, 0);
      for (int j = 0; j < rows.length; j++) {
        columns[c].set(JAVA_FLOAT_UNALIGNED, 4L * j, (float) rows[j][c]);
      }
    }
    MemorySegment out = guarded(rows.length, ElementType.F32, 0);
    kernels()
        .weightedAverage(
            new WeightedAverage(
                List.of(
                    new WeightedInput(
                        columns[0], ElementType.F32, columns[1], ElementType.F32, 1, 0),
                    new WeightedInput(
                        columns[2], ElementType.F32, columns[3], ElementType.F32, 1, 0)),
                out,
                ElementType.F32,
                rows.length));
    for (int j = 0; j < rows.length; j++) {
      assertThat(bits(out, ElementType.F32, j))
          .as("row %d", j)
          .isEqualTo(round(rows[j][4], ElementType.F32));
    }
  }

  // ---- task vectors ----

  /** Magnitudes that are all different, few different ones, mostly zeros, or all the same. */
  private double difference(SplittableRandom random, int kind) {
    return switch (kind) {
      case 0 -> random.nextDouble(-1, 1);
      case 1 -> random.nextInt(-4, 5) / 8.0;
      case 2 -> random.nextInt(10) == 0 ? random.nextGaussian() : 0;
      default -> random.nextBoolean() ? 0.25 : -0.25;
    };
  }

  private static float exactDifference(TypedValues x, TypedValues base, int j) {
    return (float) (at(x, j) - at(base, j));
  }

  private static double at(TypedValues x, int j) {
    return switch (x.type()) {
      case F32 -> x.data().get(JAVA_FLOAT_UNALIGNED, 4L * j);
      case F64 -> x.data().get(JAVA_DOUBLE_UNALIGNED, 8L * j);
      default -> decode(x.data().get(JAVA_SHORT_UNALIGNED, 2L * j), x.type());
    };
  }

  /** A stable sort of all magnitudes tells which elements come before one of a rank. */
  @ParameterizedTest
  @CsvSource({
    "1, 0",
    "2, 1",
    "7, 0",
    "500, 1",
    "4097, 0",
    "16384, 2",
    "16385, 0",
    "70001, 0",
    "70001, 1",
    "131073, 2",
    "200003, 3",
    "200003, 0"
  })
  void ranksMagnitudes(int count, int kind) {
    SplittableRandom random = new SplittableRandom(SEED + count + kind);
    ElementType type = count > 5000 ? ElementType.F32 : ElementType.values()[count % 4];
    ElementType baseType = count > 5000 ? ElementType.F32 : ElementType.values()[count % 3];
    TypedValues x = new TypedValues(guarded(count, type, 1), type);
    TypedValues base = new TypedValues(guarded(count, baseType, 2), baseType);
    for (int j = 0; j < count; j++) {
      double from = put(base.data(), baseType, j, kind == 0 ? random.nextDouble(-1, 1) : 1);
      put(x.data(), type, j, from + difference(random, kind));
    }
    float[] magnitudes = new float[count];
    for (int j = 0; j < count; j++) {
      magnitudes[j] = Math.abs(exactDifference(x, base, j));
    }
    int[] rising = order(magnitudes, false);
    int[] falling = order(magnitudes, true);
    List<MagnitudeQuery> queries = new ArrayList<>();
    for (boolean descending : new boolean[] {false, true}) {
      for (double share : new double[] {0, 0.01, 0.2, 0.5, 0.8, 0.93, 1}) {
        queries.add(
            new MagnitudeQuery(
                x, base, count, descending, Math.min(count - 1, (long) (share * count))));
      }
    }
    List<RankedMagnitude> found = kernels(1).rankedMagnitudes(queries);
    assertThat(kernels(3).rankedMagnitudes(queries)).isEqualTo(found);
    for (int q = 0; q < queries.size(); q++) {
      MagnitudeQuery query = queries.get(q);
      int[] order = query.descending() ? falling : rising;
      float magnitude = found.get(q).magnitude();
      assertThat(magnitude)
          .as("%s, seed %d", query, SEED)
          .isEqualTo(magnitudes[order[(int) query.rank()]]);
      for (int k = 0; k < count; k++) {
        int j = order[k];
        float m = magnitudes[j];
        boolean comes = query.descending() ? m > magnitude : m < magnitude;
        comes |= m == magnitude && j < found.get(q).place();
        if (comes != k < query.rank()) {
          assertThat(comes).as("%s at %d, seed %d", query, j, SEED).isEqualTo(k < query.rank());
        }
      }
    }
  }

  /** Places of magnitudes, sorted by them; equal ones stay in their order. */
  private static int[] order(float[] magnitudes, boolean descending) {
    long[] keys = new long[magnitudes.length];
    for (int j = 0; j < keys.length; j++) {
      // The bits of floats that are not negative have the floats' order.
      long bits = Float.floatToIntBits(magnitudes[j]);
      keys[j] = (descending ? -bits : bits) << 32 | j;
    }
    Arrays.sort(keys);
    return Arrays.stream(keys).mapToInt(key -> (int) key).toArray();
  }

  /** A sort of the magnitudes of several tensors tells which one has a rank. */
  @ParameterizedTest
  @CsvSource({"1, 1, 0", "3, 500, 0", "2, 70001, 1", "3, 131073, 2", "2, 4097, 3"})
  void countsMagnitudesOfSeveralTensors(int tensors, int count, int kind) {
    SplittableRandom random = new SplittableRandom(SEED + count + kind);
    List<TypedValues> rows = new ArrayList<>();
    float[] sorted = new float[tensors * count];
    for (int i = 0; i < tensors; i++) {
      ElementType type = ElementType.values()[(i + kind) % 4];
      TypedValues x = new TypedValues(guarded(count, type, 1), type);
      TypedValues base = new TypedValues(guarded(count, ElementType.F32, 2), ElementType.F32);
      for (int j = 0; j < count; j++) {
        double from =
            put(base.data(), ElementType.F32, j, kind == 0 ? random.nextDouble(-1, 1) : 1);
        put(x.data(), type, j, from + difference(random, kind));
        sorted[i * count + j] = Math.abs(exactDifference(x, base, j));
      }
      rows.add(x);
      rows.add(base);
    }
    Arrays.sort(sorted);
    for (int rank : new int[] {0, sorted.length / 3, sorted.length - 1}) {
      for (int threads : new int[] {1, 3}) {
        MagnitudeCounts counts = new MagnitudeCounts(rank);
        for (int round = 0; round < MagnitudeCounts.ROUNDS; round++) {
          List<CountedDifferences> shown = new ArrayList<>();
          for (int i = 0; i < tensors; i++) {
            shown.add(new CountedDifferences(rows.get(2 * i), rows.get(2 * i + 1), count, counts));
          }
          kernels(threads).countMagnitudes(shown);
          counts.endRound();
        }
        assertThat(counts.magnitude())
            .as("rank %d, %d threads, seed %d", rank, threads, SEED)
            .isEqualTo(sorted[rank]);
      }
    }
    MagnitudeCounts beyond = new MagnitudeCounts(sorted.length);
    kernels()
        .countMagnitudes(List.of(new CountedDifferences(rows.get(0), rows.get(1), count, beyond)));
    beyond.endRound();
    beyond.endRound();
    assertThat(beyond.magnitude()).isInfinite();
  }

  /** What the sample sees is unlike all else: larger, or 0. */
  @ParameterizedTest
  @CsvSource({"20000, 100000", "40000, 0", "70001, 0"})
  void ranksMagnitudesWhereASampleMisleads(int count, int sampled) {
    TypedValues x = new TypedValues(guarded(count, ElementType.F32, 0), ElementType.F32);
    TypedValues base = new TypedValues(guarded(count, ElementType.F32, 0), ElementType.F32);
    float[] sorted = new float[count];
    for (int j = 0; j < count; j++) {
      sorted[j] = 1 + j;
    }
    int seen = 0;
    for (long place : MagnitudeRanks.places(count)) {
      for (int k = 0; k < MagnitudeScan.GROUP; k++) {
        sorted[(int) place + k] = sampled;
        seen++;
      }
    }
    for (int j = 0; j < count; j++) {
      put(x.data(), ElementType.F32, j, sorted[j]);
      put(base.data(), ElementType.F32, j, 0);
    }
    Arrays.sort(sorted);
    for (int rank : new int[] {0, seen - 1, seen, seen + 5, 2 * seen - 1, count / 2, count - 1}) {
      assertThat(
              kernels()
                  .rankedMagnitudes(List.of(new MagnitudeQuery(x, base, count, false, rank)))
                  .getFirst()
                  .magnitude())
          .as("rank %d", rank)
          .isEqualTo(sorted[rank]);
    }
  }

  // ---- operands in files ----

  /** An operand of random values, once in memory and once in a file. */
  private record Twins(TypedValues inMemory, TypedValues inFile) {}

  private Twins twins(SplittableRandom random, int count, ElementType type, TestFile file) {
    MemorySegment values = guarded(count, type, 0);
    for (int j = 0; j < count; j++) {
      put(values, type, j, random.nextDouble(0.1, 1));
    }
    MemorySegment copy = file.place(values.byteSize());
    copy.copyFrom(values);
    return new Twins(new TypedValues(values, type), new TypedValues(copy, type));
  }

  /**
   * Every operation gives what it gives of copies in memory, for results in files too: pieces of
   * any length at any address, more operands than are read at once, and values that change between
   * two operations.
   */
  @ParameterizedTest
  @CsvSource({"1, 2", "4097, 3", "70001, 2", "9000, 20"})
  void operandsMayLieInFiles(int count, int models) throws IOException {
    SplittableRandom random = new SplittableRandom(SEED + count);
    long bytes = (2L * models + 4) * (8L * count + 1) + 3;
    try (TestFile in = new TestFile(folder.resolve("in"), bytes);
        TestFile result = new TestFile(folder.resolve("result"), bytes)) {
      Kernels kernels = kernels();
      try (MappedGuard _ = kernels.guard(List.of(in.mapped(), result.mapped()))) {
        for (int round = 0; round < 2; round++) {
          List<Twins> values = new ArrayList<>();
          List<Twins> fishers = new ArrayList<>();
          in.reuse();
          result.reuse();
          for (int i = 0; i < models; i++) {
            values.add(twins(random, count, ElementType.values()[(i + count) % 4], in));
            fishers.add(twins(random, count, ElementType.values()[(i + 1) % 4], in));
          }
          Twins base = twins(random, count, ElementType.F32, in);
          List<Twins> narrow = List.of(base, twins(random, count, ElementType.BF16, in));
          compareInFiles(kernels, count, values, fishers, base, result);
          compareInFiles(kernels, count, narrow, List.of(narrow.get(1), base), base, result);
        }
      }
    }
  }

  private void compareInFiles(
      Kernels kernels,
      int count,
      List<Twins> values,
      List<Twins> fishers,
      Twins base,
      TestFile result) {
    List<Object> found = new ArrayList<>();
    for (Function<Twins, TypedValues> side :
        List.<Function<Twins, TypedValues>>of(Twins::inMemory, Twins::inFile)) {
      boolean inFile = !found.isEmpty();
      List<Object> here = new ArrayList<>();
      for (ElementType type : List.of(ElementType.F32, ElementType.BF16)) {
        long bytes = (long) count * type.bytes();
        MemorySegment out = inFile ? result.place(bytes) : guarded(count, type, 0);
        List<WeightedInput> inputs = new ArrayList<>();
        List<Double> thresholds = new ArrayList<>();
        List<TaskVector> vectors = new ArrayList<>();
        for (int i = 0; i < values.size(); i++) {
          TypedValues x = side.apply(values.get(i));
          TypedValues fisher = side.apply(fishers.get(i));
          inputs.add(
              new WeightedInput(x.data(), x.type(), fisher.data(), fisher.type(), 1 + i, 0.1));
          thresholds.add(0.2 + 0.01 * i);
          vectors.add(
              new TaskVector(x.data(), x.type(), 0.5, 1.5, i == 0 ? Kept.drawn(0.4, 7) : Kept.ALL));
        }
        TypedValues origin = side.apply(base);
        WeightedAverage average = new WeightedAverage(inputs, origin, 0.7, out, type, count);
        here.add(kernels.weightedAverages(List.of(average), thresholds));
        here.add(ByteBuffer.wrap(out.toArray(JAVA_BYTE)));
        out.fill((byte) 0);
        kernels.weightedAverage(average);
        here.add(ByteBuffer.wrap(out.toArray(JAVA_BYTE)));
        TaskVectorMix mix =
            new TaskVectorMix(
                vectors, origin, TaskVectorMix.Mix.ELECTED_MEAN, 0.9, 5, out, type, count);
        here.add(kernels.mixTaskVectors(List.of(mix)));
        here.add(ByteBuffer.wrap(out.toArray(JAVA_BYTE)));
        here.add(kernels.taskVectorNorms(mix));
      }
      List<TypedValues> rows = values.stream().map(side).toList();
      PairSums sums = kernels.pairSums(rows, count);
      here.add(DoubleBuffer.wrap(sums.products()));
      here.add(DoubleBuffer.wrap(sums.roots()));
      here.add(kernels.statistics(rows, 0.3));
      TypedValues origin = side.apply(base);
      here.add(
          kernels.rankedMagnitudes(
              rows.stream()
                  .map(row -> new MagnitudeQuery(row, origin, count, true, count / 3))
                  .toList()));
      MagnitudeCounts counts = new MagnitudeCounts(count / 2);
      for (int round = 0; round < MagnitudeCounts.ROUNDS; round++) {
        kernels.countMagnitudes(
            List.of(new CountedDifferences(rows.getLast(), origin, count, counts)));
        counts.endRound();
      }
      here.add(counts.magnitude());
      found.add(here);
    }
    assertThat(found.get(1)).as("seed %d", SEED).isEqualTo(found.get(0));
  }

  private static Kept keptFor(int variant, int count, long seed) {
    RankedMagnitude low = new RankedMagnitude(0.25f, count / 3);
    return switch (variant % 6) {
      case 0 -> Kept.ALL;
      case 1 -> Kept.before(low);
      case 2 -> Kept.from(low).until(new RankedMagnitude(0.5f, count / 2));
      case 3 -> Kept.drawn(0.4, seed);
      case 4 -> Kept.from(low).until(low);
      default -> new Kept(0.125f, 5, 900, 0.5f, 0, seed, 3L << 30);
    };
  }

  /** As {@link Kept} says it, in other words. */
  private static boolean isKept(Kept kept, float difference, long place) {
    double m = Math.abs((double) difference);
    if (!(m <= Float.MAX_VALUE)) {
      return true;
    }
    boolean enough =
        m > kept.least()
            || (m == kept.least() && place >= kept.leastFrom() && place < kept.leastUntil());
    boolean notTooMuch = m < kept.most() || (m == kept.most() && place < kept.mostUntil());
    long x = (place + kept.seed()) & 0xFFFF_FFFFL;
    x = ((x ^ (x >> 16)) * 0x7FEB352DL) & 0xFFFF_FFFFL;
    x = ((x ^ (x >> 15) ^ (kept.seed() >>> 32)) * 0x846CA68BL) & 0xFFFF_FFFFL;
    return enough && notTooMuch && (x ^ (x >> 16)) < kept.share();
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1",
    "3, 15",
    "2, 16",
    "9, 17",
    "4, 511",
    "8, 512",
    "5, 513",
    "3, 1500",
    "2, 70001"
  })
  void mixesTaskVectors(int models, int count) {
    SplittableRandom random = new SplittableRandom(SEED + count);
    for (TaskVectorMix.Mix how : TaskVectorMix.Mix.values()) {
      for (int variant = 0; variant < (count > 5000 ? 2 : 12); variant++) {
        ElementType[] types = ElementType.values();
        boolean mixed = count < 5000 && variant % 2 == 1;
        ElementType baseType = mixed ? types[variant % 4] : ElementType.F32;
        ElementType out = mixed ? types[(variant + how.ordinal()) % 4] : ElementType.F32;
        long first = variant % 3 * 1000;
        double factor = variant % 4 == 0 ? 1 : 0.3;
        TypedValues base = new TypedValues(guarded(count, baseType, variant % 4), baseType);
        for (int j = 0; j < count; j++) {
          put(base.data(), baseType, j, random.nextInt(3) == 0 ? 1 : random.nextDouble(-1, 1));
        }
        List<TaskVector> vectors = new ArrayList<>();
        for (int m = 0; m < models; m++) {
          ElementType type =
              mixed ? types[(m + variant) % 4] : m == 1 ? ElementType.BF16 : ElementType.F32;
          MemorySegment values = guarded(count, type, m % 4);
          for (int j = 0; j < count; j++) {
            put(values, type, j, at(base, j) + difference(random, random.nextInt(4)));
          }
          double weight = how.ordinal() % 2 == 1 && m == 2 ? -0.75 : random.nextDouble(0.1, 1);
          double rescale = variant % 3 == 2 ? 1.7 : 1;
          vectors.add(
              new TaskVector(
                  values, type, weight, rescale, keptFor(m + variant, count, 77L << 30)));
        }
        MemorySegment result = guarded(count, out, variant % 4);
        TaskVectorMix mix =
            new TaskVectorMix(vectors, base, how, factor, first, result, out, count);

        kernels().mixTaskVectors(List.of(mix));

        for (int j = 0; j < count; j++) {
          assertBits(
              bits(result, out, j),
              round(at(base, j) + expectedMix(mix, j), out),
              how + " variant " + variant,
              j);
        }
        List<TaskVectorNorms> norms = kernels(1).taskVectorNorms(mix);
        assertThat(kernels(3).taskVectorNorms(mix)).isEqualTo(norms);
        for (int m = 0; m < models; m++) {
          double all = 0;
          double kept = 0;
          TaskVector vector = vectors.get(m);
          for (int j = 0; j < count; j++) {
            float delta = exactDifference(new TypedValues(vector.values(), vector.type()), base, j);
            all += Math.abs(delta);
            kept += isKept(vector.kept(), delta, first + j) ? Math.abs(delta) : 0;
          }
          assertThat(norms.get(m).all()).isCloseTo(all, within(1e-12 * all));
          assertThat(norms.get(m).kept()).isCloseTo(kept, within(1e-12 * all));
        }
      }
    }
  }

  private static float expectedMix(TaskVectorMix mix, int j) {
    float all = 0;
    float weights = 0;
    List<float[]> terms = new ArrayList<>();
    for (TaskVector v : mix.vectors()) {
      float delta = exactDifference(new TypedValues(v.values(), v.type()), mix.base(), j);
      float w = (float) v.weight();
      float term = isKept(v.kept(), delta, mix.first() + j) ? delta * (float) v.rescale() * w : 0;
      terms.add(new float[] {term, w});
      all += term;
      weights += w;
    }
    float sign = all >= 0 ? 1 : -1;
    float elected = 0;
    float electedWeights = 0;
    for (float[] term : terms) {
      if (Math.signum(term[0]) == sign) {
        elected += term[0];
        electedWeights += term[1];
      }
    }
    float result =
        switch (mix.how()) {
          case SUM -> all;
          case MEAN -> all / (Math.abs(weights) < 1e-8f ? 1 : weights);
          case ELECTED_SUM -> elected;
          case ELECTED_MEAN -> elected / (electedWeights == 0 ? 1 : electedWeights);
        };
    return result * (float) mix.factor();
  }

  /** What is not finite is seen in the result, whether it would be kept or not. */
  @Test
  void differencesThatAreNotFiniteAreSeen() {
    int count = 33;
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, -Double.MAX_VALUE}) {
      for (int variant = 0; variant < 6; variant++) {
        for (TaskVectorMix.Mix how : TaskVectorMix.Mix.values()) {
          MemorySegment zeros = guarded(count, ElementType.F64, 0);
          MemorySegment values = guarded(count, ElementType.F64, 0);
          for (int j = 0; j < count; j++) {
            put(zeros, ElementType.F64, j, 0);
            put(values, ElementType.F64, j, j == 20 ? bad : 0.5);
          }
          MemorySegment out = guarded(count, ElementType.F32, 0);
          TypedValues base = new TypedValues(zeros, ElementType.F64);
          List<TaskVector> vectors =
              List.of(
                  new TaskVector(zeros, ElementType.F64, 1, 1, Kept.ALL),
                  new TaskVector(values, ElementType.F64, 0.5, 1, keptFor(variant, count, 5)));
          ValueStatistics found =
              kernels()
                  .mixTaskVectors(
                      List.of(
                          new TaskVectorMix(vectors, base, how, 1, 0, out, ElementType.F32, count)))
                  .getFirst();
          assertThat(found.finite()).isFalse();
          assertThat(out.get(JAVA_FLOAT_UNALIGNED, 80)).isNaN();
          assertThat(out.get(JAVA_FLOAT_UNALIGNED, 76)).isFinite();
        }
      }
    }
  }

  /** Kept at the probability, differently for each seed, and as often together as chance has it. */
  @Test
  void drawsAreIndependent() {
    int count = 1 << 18;
    for (double p : new double[] {0.1, 0.5, 0.9}) {
      Kept one = Kept.drawn(p, 1);
      List<Kept> others = List.of(Kept.drawn(p, 2), Kept.drawn(p, 1L << 32), Kept.drawn(p, -1));
      for (Kept other : others) {
        long kept = 0;
        long both = 0;
        long next = 0;
        for (int j = 0; j < count; j++) {
          boolean first = one.keeps(1, j);
          kept += first ? 1 : 0;
          both += first && other.keeps(1, j) ? 1 : 0;
          next += first && one.keeps(1, j + 1) ? 1 : 0;
        }
        double deviation = 5 / Math.sqrt(count);
        assertThat((double) kept / count).isCloseTo(p, within(deviation));
        assertThat((double) both / count).isCloseTo(p * p, within(deviation));
        assertThat((double) next / count).isCloseTo(p * p, within(deviation));
      }
    }
    assertThat(IntStream.range(0, 1000).allMatch(j -> Kept.drawn(1, 3).keeps(1, j))).isTrue();
    assertThat(IntStream.range(0, 1000).noneMatch(j -> Kept.drawn(0, 3).keeps(1, j))).isTrue();
  }

  @Test
  void wrongTaskVectorsAreRejected() {
    MemorySegment four = memory.allocate(16);
    TypedValues row = new TypedValues(four, ElementType.F32);
    rejects(
        "rank 4 does not lie in [0, 4)",
        () -> kernels().rankedMagnitudes(List.of(new MagnitudeQuery(row, row, 4, true, 4))));
    rejects(
        "values is too short",
        () -> kernels().rankedMagnitudes(List.of(new MagnitudeQuery(row, row, 5, true, 1))));
    TaskVector vector = new TaskVector(four, ElementType.F32, 1, 1, Kept.ALL);
    TaskVectorMix.Mix sum = TaskVectorMix.Mix.SUM;
    rejects(
        "vectors: at least one is needed",
        () ->
            kernels()
                .mixTaskVectors(
                    List.of(
                        new TaskVectorMix(
                            List.of(), row, sum, 1, 0, memory.allocate(16), ElementType.F32, 4))));
    rejects(
        "out is too short",
        () ->
            kernels()
                .mixTaskVectors(
                    List.of(
                        new TaskVectorMix(
                            List.of(vector),
                            row,
                            sum,
                            1,
                            0,
                            memory.allocate(8),
                            ElementType.F32,
                            4))));
    rejects("0 <= least <= most", () -> new Kept(2, 0, 0, 1, 0, 0, 0));
  }

  // ---- squares ----

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 3, 15, 16, 17, 100, 4095, 4096, 4097, 140_001})
  void statisticsOfValues(int count) {
    SplittableRandom random = new SplittableRandom(SEED + count);
    for (ElementType type : ElementType.values()) {
      MemorySegment x = guarded(count, type, 1);
      double squares = 0;
      double minimum = Double.POSITIVE_INFINITY;
      long below = 0;
      for (int j = 0; j < count; j++) {
        double value = put(x, type, j, j % 5 == 2 ? 0.5 : random.nextDouble(-3, 3));
        squares += value * value;
        minimum = Math.min(minimum, value);
        below += value < 0.5 ? 1 : 0;
      }
      ValueStatistics actual = statistics(1, new TypedValues(x, type));
      assertThat(actual.sumOfSquares())
          .as("%s, seed %d", type, SEED)
          .isCloseTo(squares, within(squares * 1e-12));
      assertThat(actual.minimum()).isEqualTo(minimum);
      assertThat(actual.below()).isEqualTo(below);
      assertThat(actual.finite()).isTrue();
      assertThat(statistics(3, new TypedValues(x, type))).isEqualTo(actual);
      for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
        if (count > 0) {
          put(x, type, count / 2, bad);
          assertThat(statistics(2, new TypedValues(x, type)).finite()).as("%s", bad).isFalse();
        }
      }
    }
  }

  private ValueStatistics statistics(int threads, TypedValues range) {
    return kernels(threads).statistics(List.of(range), 0.5).getFirst();
  }

  /** Averages of all sizes in one call: as one by one, and with the statistics of each operand. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void averagesSeveralAtOnce(boolean withFishers) {
    SplittableRandom random = new SplittableRandom(SEED);
    List<WeightedAverage> averages = new ArrayList<>();
    int[] counts = {1, 0, 5, 4096, 70_001, 0, 3, 4097, 12_288, 1};
    for (int count : counts) {
      List<WeightedInput> inputs = new ArrayList<>();
      for (int m = 0; m < 3; m++) {
        MemorySegment values = guarded(count, ElementType.F32, m);
        MemorySegment fisher = withFishers ? guarded(count, ElementType.F32, m) : null;
        for (int j = 0; j < count; j++) {
          put(values, ElementType.F32, j, random.nextDouble(-2, 2));
          if (fisher != null) {
            put(fisher, ElementType.F32, j, random.nextDouble(0, 1));
          }
        }
        inputs.add(new WeightedInput(values, ElementType.F32, fisher, ElementType.F32, 1 + m, 0.1));
      }
      averages.add(
          new WeightedAverage(
              inputs, guarded(count, ElementType.BF16, 0), ElementType.BF16, count));
    }
    List<Double> thresholds = withFishers ? List.of(0.5, 0.25, 0.125) : List.of();
    for (int threads : new int[] {1, 2, 5}) {
      averages.forEach(average -> average.out().fill((byte) -1));
      List<AtomicIntegerArray> visits = new ArrayList<>();
      averages.forEach(average -> visits.add(new AtomicIntegerArray((int) average.count())));
      List<WeightedAverage.Statistics> found =
          kernels(threads)
              .weightedAverages(
                  averages,
                  thresholds,
                  (k, from, to, fishers) -> {
                    for (int m = 0; m < thresholds.size(); m++) {
                      MemorySegment fisher =
                          Objects.requireNonNull(averages.get(k).inputs().get(m).fisher());
                      MemorySegment shown = fishers.apply(m);
                      long bytes = (to - from) * Float.BYTES;
                      assertThat(
                              MemorySegment.mismatch(
                                  shown, 0, bytes, fisher, from * Float.BYTES, to * Float.BYTES))
                          .isEqualTo(-1);
                    }
                    for (long j = from; j < to; j++) {
                      // Not there yet: the bytes 0xffff, which are no number.
                      TypedValues out = new TypedValues(averages.get(k).out(), ElementType.BF16);
                      boolean averaged = !Double.isNaN(at(out, (int) j));
                      visits.get(k).addAndGet((int) j, averaged ? 1 : 100);
                    }
                  });
      for (AtomicIntegerArray each : visits) {
        for (int j = 0; j < each.length(); j++) {
          assertThat(each.get(j)).as("visits of element %d", j).isEqualTo(1);
        }
      }
      assertThat(found).hasSameSizeAs(averages);
      for (int k = 0; k < counts.length; k++) {
        WeightedAverage average = averages.get(k);
        MemorySegment alone = guarded(counts[k], ElementType.BF16, 0);
        kernels(1)
            .weightedAverage(
                new WeightedAverage(average.inputs(), alone, ElementType.BF16, counts[k]));
        assertThat(average.out().mismatch(alone)).as("average %d, seed %d", k, SEED).isEqualTo(-1);
        ValueStatistics out =
            kernels(1)
                .statistics(
                    List.of(new TypedValues(alone, ElementType.BF16)), Double.NEGATIVE_INFINITY)
                .getFirst();
        assertSame(found.get(k).out(), out);
        assertThat(found.get(k).fishers()).hasSize(thresholds.size());
        for (int m = 0; m < thresholds.size(); m++) {
          MemorySegment fisher = Objects.requireNonNull(average.inputs().get(m).fisher());
          assertSame(
              found.get(k).fishers().get(m),
              kernels(1)
                  .statistics(List.of(new TypedValues(fisher, ElementType.F32)), thresholds.get(m))
                  .getFirst());
        }
      }
    }
  }

  @Test
  void thresholdsAndFishersGoTogether() {
    MemorySegment four = memory.allocate(16);
    WeightedAverage plain =
        new WeightedAverage(
            List.of(constant(four, ElementType.F32, 1)), memory.allocate(16), ElementType.F32, 4);
    rejects(
        "thresholds: 1 for 1 inputs with Fishers",
        () -> kernels().weightedAverages(List.of(plain), List.of(0.5)));
    rejects(
        "ranges[0] is no whole number of F32 values: 7 bytes",
        () ->
            kernels().statistics(List.of(new TypedValues(memory.allocate(7), ElementType.F32)), 0));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 0",
    "1, 5",
    "2, 1",
    "2, 255",
    "3, 256",
    "4, 257",
    "5, 1000",
    "9, 777",
    "64, 33",
    "2, 65536",
    "3, 65537",
    "2, 200003"
  })
  void sumsPairs(int count, int elements) {
    SplittableRandom random = new SplittableRandom(SEED + elements);
    double[][] values = new double[count][elements];
    List<TypedValues> rows = new ArrayList<>();
    for (int p = 0; p < count; p++) {
      ElementType type = ElementType.values()[p % ElementType.values().length];
      MemorySegment x = guarded(elements, type, p % 4);
      for (int j = 0; j < elements; j++) {
        // Two rows without a common element, and one of zeros.
        double value = p == 3 || (p < 2 && j % 2 == p) ? 0 : random.nextDouble(0, 3);
        values[p][j] = put(x, type, j, value);
      }
      rows.add(new TypedValues(x, type));
    }
    PairSums sums = kernels(1).pairSums(rows, elements);
    assertThat(sums.rows()).isEqualTo(count);
    PairSums threaded = kernels(3).pairSums(rows, elements);
    for (int p = 0; p < count; p++) {
      for (int q = 0; q < count; q++) {
        double product = 0;
        double root = 0;
        for (int j = 0; j < elements; j++) {
          product += values[p][j] * values[q][j];
          root += Math.sqrt(values[p][j] * values[q][j]);
        }
        assertThat(sums.product(p, q))
            .as("product %d %d, seed %d", p, q, SEED)
            .isCloseTo(product, within(product * 1e-12));
        assertThat(sums.root(p, q))
            .as("root %d %d, seed %d", p, q, SEED)
            .isCloseTo(root, within(root * 1e-12));
        assertThat(threaded.product(p, q)).isEqualTo(sums.product(p, q));
        assertThat(threaded.root(p, q)).isEqualTo(sums.root(p, q));
      }
    }
  }

  @Test
  void pairSumsOfAPairDoNotDependOnTheOtherRows() {
    int elements = 70_001;
    List<TypedValues> rows = new ArrayList<>();
    for (int p = 0; p < 7; p++) {
      float[] x = random(elements, SEED + p);
      for (int j = 0; j < elements; j++) {
        x[j] = x[j] * x[j];
      }
      rows.add(new TypedValues(floats(x, p % 4), ElementType.F32));
    }
    PairSums all = kernels().pairSums(rows, elements);
    PairSums two = kernels().pairSums(List.of(rows.get(5), rows.get(2)), elements);
    assertThat(two.product(0, 1)).isEqualTo(all.product(2, 5)).isPositive();
    assertThat(two.root(0, 1)).isEqualTo(all.root(2, 5)).isPositive();
  }

  @Test
  void pairSumsShowWhatIsNoFisher() {
    double[][] rows = {
      {1, 2, 3}, {1, -1e-30, 3}, {1, Double.NaN, 3}, {1, Double.POSITIVE_INFINITY, 3}, {-0.0, 0, 1},
    };
    List<TypedValues> operands = new ArrayList<>();
    for (double[] row : rows) {
      operands.add(new TypedValues(floats(new float[3], 0), ElementType.F32));
      for (int j = 0; j < 3; j++) {
        operands.getLast().data().set(JAVA_FLOAT_UNALIGNED, 4L * j, (float) row[j]);
      }
    }
    PairSums sums = kernels().pairSums(operands, 3);
    assertThat(sums.root(0, 0)).isCloseTo(6, within(1e-14));
    assertThat(sums.root(1, 1)).isNaN();
    assertThat(sums.root(2, 2)).isNaN();
    assertThat(sums.root(3, 3)).isInfinite();
    assertThat(sums.root(4, 4)).isEqualTo(1);
    assertThat(sums.product(4, 0)).isEqualTo(3);
    assertThatThrownBy(() -> kernels().pairSums(operands, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("rows[0] is too short");
    assertThatThrownBy(() -> kernels().pairSums(List.of(), 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("rows: at least one is needed");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 3, 4, 5, 8, 9, 31, 70_001})
  void addsSquares(int count) {
    float[] g = random(count, SEED);
    float[] fisher = random(count, SEED + 1);
    MemorySegment target = floats(fisher, 3);
    kernels().addSquares(floats(g, 1), 0.37, target, count);
    for (int j = 0; j < count; j++) {
      float expected = (float) (fisher[j] + 0.37 * ((double) g[j] * g[j]));
      assertThat(target.get(JAVA_FLOAT_UNALIGNED, 4L * j))
          .as("seed %d, element %d", SEED, j)
          .isEqualTo(expected);
    }
  }

  // ---- squared gradients and relatives ----

  /** A batch with gaps between probes, examples and tokens, against unreadable pages. */
  private final class Problem {
    final TokenShape shape;
    final int outputs;
    final int inputs;
    final float[] g;
    final float[] a;
    final float @Nullable [] w;
    final Cotangents cotangents;
    final Activations activations;
    final @Nullable MemorySegment weights;

    Problem(
        int probes, int examples, int tokens, int outputs, int inputs, boolean weighted, int gap) {
      shape = new TokenShape(probes, examples, tokens);
      this.outputs = outputs;
      this.inputs = inputs;
      long seed = SEED + outputs * 1000L + inputs;
      g = random(probes * examples * tokens * outputs, seed);
      a = random(examples * tokens * inputs, seed + 1);
      w = weighted ? random(probes * examples, seed + 2) : null;
      weights = w == null ? null : floats(w, 2);
      long gToken = outputs + gap;
      long gExample = tokens * gToken + gap;
      long gProbe = examples * gExample + gap;
      MemorySegment gData =
          strided(
              g,
              outputs,
              new long[] {probes, examples, tokens},
              new long[] {gProbe, gExample, gToken});
      cotangents = new Cotangents(gData, gProbe, gExample, gToken);
      long aToken = inputs + 2L * gap;
      long aExample = tokens * aToken + gap;
      activations =
          new Activations(
              strided(a, inputs, new long[] {examples, tokens}, new long[] {aExample, aToken}),
              aExample,
              aToken);
    }

    double g(int v, int b, int t, int o) {
      return g[((v * shape.examples() + b) * shape.tokens() + t) * outputs + o];
    }

    double a(int b, int t, int i) {
      return a[(b * shape.tokens() + t) * inputs + i];
    }

    double w(int v, int b) {
      return w == null ? 1 : w[v * shape.examples() + b];
    }

    /** F and, for its error bound, the same with absolute values. */
    double[][] squaredGradients() {
      double[] fisher = new double[outputs * inputs];
      double[] bound = new double[outputs * inputs];
      for (int v = 0; v < shape.probes(); v++) {
        for (int b = 0; b < shape.examples(); b++) {
          for (int o = 0; o < outputs; o++) {
            for (int i = 0; i < inputs; i++) {
              double sum = 0;
              double magnitude = 0;
              for (int t = 0; t < shape.tokens(); t++) {
                sum += g(v, b, t, o) * a(b, t, i);
                magnitude += Math.abs(g(v, b, t, o) * a(b, t, i));
              }
              fisher[o * inputs + i] += w(v, b) * sum * sum;
              bound[o * inputs + i] += Math.abs(w(v, b)) * magnitude * magnitude;
            }
          }
        }
      }
      return new double[][] {fisher, bound};
    }
  }

  @ParameterizedTest(name = "V {0} B {1} T {2} O {3} I {4} weighted {5} gap {6}")
  @CsvSource({
    "1, 1, 1, 1, 1, false, 0",
    "1, 3, 2, 5, 7, true, 1",
    "1, 4, 5, 6, 16, false, 0",
    "2, 3, 7, 13, 33, true, 3",
    "3, 2, 50, 17, 31, true, 0",
    "1, 2, 3, 97, 257, false, 5",
    "1, 2, 3, 200, 520, true, 1",
    "1, 1, 257, 14, 32, false, 0",
    "2, 1, 1030, 7, 9, true, 0",
    "1, 5, 1, 31, 63, true, 2",
    "3, 4, 1, 97, 65, true, 1",
    "2, 300, 1, 7, 17, false, 0",
    "1, 7, 4, 1, 100, true, 0",
    "1, 7, 4, 100, 1, true, 0",
  })
  void addsSquaredGradients(
      int probes, int examples, int tokens, int outputs, int inputs, boolean weighted, int gap) {
    Problem p = new Problem(probes, examples, tokens, outputs, inputs, weighted, gap);
    float[] before = random(outputs * inputs, SEED + 3);
    double[][] oracle = p.squaredGradients();
    float @Nullable [] first = null;
    for (int threads : new int[] {1, 2, 3, 7}) {
      MemorySegment fisher = floats(before, 0);
      kernels(threads)
          .addSquaredGradients(
              p.shape, outputs, inputs, p.cotangents, p.activations, p.weights, fisher);
      float[] actual = array(fisher, outputs * inputs);
      for (int k = 0; k < actual.length; k++) {
        double tolerance =
            1e-6 * (tokens + 4) * oracle[1][k] + 1e-6 * examples * Math.abs(before[k]) + 1e-7;
        assertThat((double) actual[k])
            .as("seed %d, element %d", SEED, k)
            .isCloseTo(before[k] + oracle[0][k], within(tolerance));
      }
      if (first == null) {
        first = actual;
      }
      assertThat(Arrays.equals(actual, first)).as("same bits for %d threads", threads).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 5})
  void squaredGradientsHaveTheSameBitsForAnySplitIntoBatches(int tokens) {
    int outputs = 100;
    int inputs = 70;
    int examples = 6;
    Problem p = new Problem(1, examples, tokens, outputs, inputs, true, 0);
    MemorySegment weights = Objects.requireNonNull(p.weights);
    MemorySegment whole = floats(new float[outputs * inputs], 0);
    kernels()
        .addSquaredGradients(p.shape, outputs, inputs, p.cotangents, p.activations, weights, whole);
    for (int batch : new int[] {1, 2, 4}) {
      MemorySegment fisher = floats(new float[outputs * inputs], 0);
      for (int from = 0; from < examples; from += batch) {
        int n = Math.min(batch, examples - from);
        Cotangents g =
            new Cotangents(
                p.cotangents.data().asSlice(4L * from * p.cotangents.exampleStride()),
                0,
                p.cotangents.exampleStride(),
                p.cotangents.tokenStride());
        Activations a =
            new Activations(
                p.activations.data().asSlice(4L * from * p.activations.exampleStride()),
                p.activations.exampleStride(),
                p.activations.tokenStride());
        kernels()
            .addSquaredGradients(
                new TokenShape(1, n, tokens),
                outputs,
                inputs,
                g,
                a,
                weights.asSlice(4L * from),
                fisher);
      }
      assertThat(fisher.mismatch(whole)).as("batches of %d", batch).isEqualTo(-1);
    }
  }

  @Test
  void batchesLargerThanTheWorkspaceAreTakenInParts() {
    // They pack into more than the workspace; the tokens share memory, so that little is used.
    int tokens = 2000;
    int examples = 400;
    int width = 48;
    long limit = 256L << 20;
    assertThat((long) examples * tokens * 2 * width * Float.BYTES).isGreaterThan(limit);
    float[] row = random(width, SEED);
    MemorySegment data = floats(row, 0);
    MemorySegment fisher = memory.allocate(4L * width * width);
    Kernels kernels = kernels();
    if (!packsOperands()) {
      examples = 1; // nothing is taken in parts, and more would take long
      tokens = 200;
    }
    kernels.addSquaredGradients(
        new TokenShape(1, examples, tokens),
        width,
        width,
        new Cotangents(data, 0, 0, 0),
        new Activations(data, 0, 0),
        null,
        fisher);
    assertThat(kernels.workspaceBytes()).isLessThanOrEqualTo(limit);
    for (int k = 0; k < width * width; k++) {
      double sum = (double) tokens * row[k / width] * row[k % width];
      double expected = examples * sum * sum;
      assertThat((double) fisher.get(JAVA_FLOAT_UNALIGNED, 4L * k))
          .as("seed %d, element %d", SEED, k)
          .isCloseTo(expected, within(1e-3 * expected + 1e-6));
    }
  }

  @Test
  void offsetsBeyondTwoToTheThirtyFirstAreExact() {
    // 3 examples, 1.5 * 2^30 elements apart: the last one starts beyond element 2^31, byte 2^33.
    long stride = 3L << 29;
    int outputs = 7;
    int inputs = 18;
    int tokens = 3;
    MemorySegment gData = memory.map(4 * (2 * stride + 64));
    MemorySegment aData = memory.map(4 * (2 * stride + 64));
    TokenShape shape = new TokenShape(1, 3, tokens);
    double[] expected = new double[outputs * inputs];
    SplittableRandom random = new SplittableRandom(SEED);
    for (int b = 0; b < 3; b++) {
      double[] sum = new double[outputs * inputs];
      for (int t = 0; t < tokens; t++) {
        for (int o = 0; o < outputs; o++) {
          gData.set(
              JAVA_FLOAT_UNALIGNED,
              4 * (b * stride + t * outputs + o),
              (float) random.nextDouble(-1, 1));
        }
        for (int i = 0; i < inputs; i++) {
          aData.set(
              JAVA_FLOAT_UNALIGNED,
              4 * (b * stride + t * inputs + i),
              (float) random.nextDouble(-1, 1));
        }
        for (int k = 0; k < sum.length; k++) {
          sum[k] +=
              (double) gData.get(JAVA_FLOAT_UNALIGNED, 4 * (b * stride + t * outputs + k / inputs))
                  * aData.get(JAVA_FLOAT_UNALIGNED, 4 * (b * stride + t * inputs + k % inputs));
        }
      }
      for (int k = 0; k < sum.length; k++) {
        expected[k] += sum[k] * sum[k];
      }
    }
    MemorySegment fisher = memory.allocate(4L * outputs * inputs);
    kernels()
        .addSquaredGradients(
            shape,
            outputs,
            inputs,
            new Cotangents(gData, 0, stride, outputs),
            new Activations(aData, stride, inputs),
            null,
            fisher);
    for (int k = 0; k < expected.length; k++) {
      assertThat((double) fisher.get(JAVA_FLOAT_UNALIGNED, 4L * k))
          .as("seed %d, element %d", SEED, k)
          .isCloseTo(expected[k], within(1e-5));
    }
  }

  @ParameterizedTest(name = "V {0} B {1} T {2} O {3}")
  @CsvSource({
    "1, 1, 1, 1",
    "2, 3, 5, 7",
    "1, 4, 50, 33",
    "3, 2, 1, 1000",
    "1, 8, 77, 769",
    "1, 3, 197, 4"
  })
  void addsTokenSumSquares(int probes, int examples, int tokens, int outputs) {
    Problem p = new Problem(probes, examples, tokens, outputs, 1, outputs % 2 == 1, 3);
    float[] before = random(outputs, SEED + 3);
    float[] expected = before.clone();
    for (int b = 0; b < examples; b++) {
      for (int v = 0; v < probes; v++) {
        for (int o = 0; o < outputs; o++) {
          double sum = 0;
          for (int t = 0; t < tokens; t++) {
            sum += p.g(v, b, t, o);
          }
          expected[o] = (float) (expected[o] + p.w(v, b) * (sum * sum));
        }
      }
    }
    for (int threads : new int[] {1, 2, 3, 7}) {
      MemorySegment fisher = floats(before, 1);
      kernels(threads).addTokenSumSquares(p.shape, outputs, p.cotangents, p.weights, fisher);
      assertThat(array(fisher, outputs))
          .as("seed %d, %d threads", SEED, threads)
          .isEqualTo(expected);
    }
  }

  @ParameterizedTest(name = "V {0} B {1} T {2} D {3}")
  @CsvSource({"1, 1, 1, 1", "2, 3, 5, 7", "1, 4, 50, 33", "3, 2, 1, 1000", "1, 5, 20, 770"})
  void addsLayerNormSquares(int probes, int examples, int tokens, int width) {
    Problem p = new Problem(probes, examples, tokens, width, width, width % 2 == 1, 2);
    float[] mean = random(examples * tokens, SEED + 5);
    float[] rstd = random(examples * tokens, SEED + 6);
    float[] expectedScale = random(width, SEED + 7);
    float[] expectedShift = random(width, SEED + 8);
    MemorySegment means = floats(mean, 0);
    MemorySegment rstds = floats(rstd, 1);
    float[] beforeScale = expectedScale.clone();
    float[] beforeShift = expectedShift.clone();
    for (int b = 0; b < examples; b++) {
      for (int v = 0; v < probes; v++) {
        for (int d = 0; d < width; d++) {
          double scale = 0;
          double shift = 0;
          for (int t = 0; t < tokens; t++) {
            int position = b * tokens + t;
            shift += p.g(v, b, t, d);
            scale += p.g(v, b, t, d) * ((p.a(b, t, d) - mean[position]) * rstd[position]);
          }
          expectedScale[d] = (float) (expectedScale[d] + p.w(v, b) * (scale * scale));
          expectedShift[d] = (float) (expectedShift[d] + p.w(v, b) * (shift * shift));
        }
      }
    }
    for (int threads : new int[] {1, 2, 3, 7}) {
      MemorySegment scale = floats(beforeScale, 0);
      MemorySegment shift = floats(beforeShift, 3);
      kernels(threads)
          .addLayerNormSquares(
              p.shape, width, p.cotangents, p.activations, means, rstds, p.weights, scale, shift);
      assertThat(array(scale, width))
          .as("scale, seed %d, %d threads", SEED, threads)
          .isEqualTo(expectedScale);
      assertThat(array(shift, width))
          .as("shift, seed %d, %d threads", SEED, threads)
          .isEqualTo(expectedShift);
    }
  }

  @ParameterizedTest(name = "V {0} B {1} T {2} D {3} rows {4}")
  @CsvSource({
    "1, 1, 1, 1, 1",
    "2, 3, 5, 7, 3",
    "1, 4, 20, 33, 6",
    "2, 2, 77, 515, 40",
    "1, 3, 9, 1030, 5"
  })
  void addsEmbeddingSquares(int probes, int examples, int tokens, int width, int rows) {
    Problem p = new Problem(probes, examples, tokens, width, 1, width % 2 == 1, 1);
    SplittableRandom random = new SplittableRandom(SEED);
    MemorySegment ids = memory.allocate(8L * examples * tokens);
    int[] id = new int[examples * tokens];
    for (int k = 0; k < id.length; k++) {
      id[k] = random.nextInt(rows);
      ids.set(JAVA_LONG_UNALIGNED, 8L * k, id[k]);
    }
    float[] before = random(rows * width, SEED + 9);
    float[] expected = before.clone();
    for (int b = 0; b < examples; b++) {
      for (int v = 0; v < probes; v++) {
        for (int r = 0; r < rows; r++) {
          for (int d = 0; d < width; d++) {
            double sum = 0;
            for (int t = 0; t < tokens; t++) {
              sum += id[b * tokens + t] == r ? p.g(v, b, t, d) : 0;
            }
            expected[r * width + d] = (float) (expected[r * width + d] + p.w(v, b) * (sum * sum));
          }
        }
      }
    }
    for (int threads : new int[] {1, 2, 3, 7}) {
      MemorySegment fisher = floats(before, 0);
      kernels(threads)
          .addEmbeddingSquares(p.shape, width, p.cotangents, ids, rows, p.weights, fisher);
      assertThat(array(fisher, rows * width))
          .as("seed %d, %d threads", SEED, threads)
          .isEqualTo(expected);
    }
  }

  @Test
  void nanInAnExampleReachesItsElementsAndNoOthers() {
    Problem p = new Problem(1, 2, 3, 20, 40, false, 0);
    p.cotangents
        .data()
        .set(JAVA_FLOAT_UNALIGNED, 4 * 19, Float.NaN); // example 0, token 0, output 19
    MemorySegment fisher = floats(new float[20 * 40], 0);
    kernels().addSquaredGradients(p.shape, 20, 40, p.cotangents, p.activations, null, fisher);
    float[] actual = array(fisher, 20 * 40);
    for (int k = 0; k < actual.length; k++) {
      assertThat(Float.isNaN(actual[k])).as("output %d", k / 40).isEqualTo(k / 40 == 19);
    }
  }

  @Test
  void emptyShapesChangeNothing() {
    MemorySegment fisher = floats(new float[] {1, 2, 3, 4}, 0);
    MemorySegment data = memory.allocate(16);
    for (TokenShape shape :
        List.of(new TokenShape(0, 1, 1), new TokenShape(1, 0, 1), new TokenShape(1, 1, 0))) {
      Cotangents g = Cotangents.contiguous(data, shape, 2);
      kernels()
          .addSquaredGradients(
              shape, 2, 2, g, Activations.contiguous(data, shape, 2), null, fisher);
      kernels().addTokenSumSquares(shape, 2, g, null, fisher);
      kernels().addEmbeddingSquares(shape, 2, g, data, 2, null, fisher);
    }
    assertThat(array(fisher, 4)).containsExactly(1, 2, 3, 4);
  }

  // ---- arguments ----

  /**
   * Operands of every call, each of exactly the bytes needed unless it is the one to be cut short.
   */
  private MemorySegment sized(String name, long bytes, String cut) {
    return memory.allocate(name.equals(cut) ? bytes - 1 : bytes);
  }

  private void callAll(String call, String cut) {
    TokenShape shape = new TokenShape(2, 3, 4);
    int o = 5;
    int i = 6;
    Cotangents g = Cotangents.contiguous(sized("g", 2 * 3 * 4 * o * 4, cut), shape, o);
    MemorySegment weights = sized("weights", 2 * 3 * 4, cut);
    switch (call) {
      case "weightedAverage" ->
          kernels()
              .weightedAverage(
                  new WeightedAverage(
                      List.of(
                          constant(sized("inputs[0].values", 14, cut), ElementType.F16, 1),
                          new WeightedInput(
                              sized("inputs[1].values", 28, cut),
                              ElementType.F32,
                              sized("inputs[1].fisher", 56, cut),
                              ElementType.F64,
                              1,
                              1)),
                      sized("out", 14, cut),
                      ElementType.BF16,
                      7));
      case "addSquares" ->
          kernels().addSquares(sized("gradient", 28, cut), 1, sized("fisher", 28, cut), 7);
      case "addSquaredGradients" ->
          kernels()
              .addSquaredGradients(
                  shape,
                  o,
                  i,
                  g,
                  Activations.contiguous(sized("a", 3 * 4 * i * 4, cut), shape, i),
                  weights,
                  sized("fisher", o * i * 4, cut));
      case "addTokenSumSquares" ->
          kernels().addTokenSumSquares(shape, o, g, weights, sized("fisher", o * 4, cut));
      case "addLayerNormSquares" ->
          kernels()
              .addLayerNormSquares(
                  shape,
                  o,
                  g,
                  Activations.contiguous(sized("x", 3 * 4 * o * 4, cut), shape, o),
                  sized("mean", 48, cut),
                  sized("rstd", 48, cut),
                  weights,
                  sized("fisherScale", o * 4, cut),
                  sized("fisherShift", o * 4, cut));
      case "addEmbeddingSquares" ->
          kernels()
              .addEmbeddingSquares(
                  shape, o, g, sized("ids", 96, cut), 9, weights, sized("fisher", 9 * o * 4, cut));
      default -> throw new IllegalArgumentException(call);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "weightedAverage, inputs[0].values",
    "weightedAverage, inputs[1].values",
    "weightedAverage, inputs[1].fisher",
    "weightedAverage, out",
    "addSquares, gradient",
    "addSquares, fisher",
    "addSquaredGradients, g",
    "addSquaredGradients, a",
    "addSquaredGradients, weights",
    "addSquaredGradients, fisher",
    "addTokenSumSquares, g",
    "addTokenSumSquares, weights",
    "addTokenSumSquares, fisher",
    "addLayerNormSquares, g",
    "addLayerNormSquares, x",
    "addLayerNormSquares, mean",
    "addLayerNormSquares, rstd",
    "addLayerNormSquares, weights",
    "addLayerNormSquares, fisherScale",
    "addLayerNormSquares, fisherShift",
    "addEmbeddingSquares, g",
    "addEmbeddingSquares, ids",
    "addEmbeddingSquares, weights",
    "addEmbeddingSquares, fisher",
  })
  void segmentsOneByteTooShortAreNamed(String call, String argument) {
    callAll(call, "");
    assertThatThrownBy(() -> callAll(call, argument))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(argument + " is too short: ")
        .hasMessageContaining(" bytes needed");
  }

  @Test
  void argumentsOutOfRangeAreRejected() {
    MemorySegment four = memory.allocate(16);
    TokenShape one = new TokenShape(1, 1, 1);
    Cotangents g = Cotangents.contiguous(four, one, 4);
    Kernels kernels = kernels();
    rejects(
        "count must not be negative: -1",
        () -> kernels.addSquares(four, 1, memory.allocate(16), -1));
    rejects(
        "inputs: at least one",
        () -> kernels.weightedAverage(new WeightedAverage(List.of(), four, ElementType.F32, 4)));
    rejects(
        "gradient must be off-heap",
        () -> kernels.addSquares(MemorySegment.ofArray(new float[4]), 1, four, 4));
    rejects("fisher must be writable", () -> kernels.addSquares(four, 1, four.asReadOnly(), 4));
    rejects("g.tokenStride must not be negative: -4", () -> new Cotangents(four, 0, 0, -4));
    rejects("shape: dimensions must not be negative", () -> new TokenShape(1, -1, 1));
    rejects(
        "g spans more elements than can be addressed",
        () ->
            kernels.addTokenSumSquares(
                new TokenShape(3, 1, 1),
                4,
                new Cotangents(four, Long.MAX_VALUE, 0, 0),
                null,
                memory.allocate(16)));
    rejects(
        "fisher has more elements than can be addressed",
        () ->
            kernels.addSquaredGradients(
                new TokenShape(0, 0, 1),
                1L << 40,
                1L << 40,
                g,
                new Activations(four, 0, 0),
                null,
                four));
    for (long id : new long[] {-1, 3, Long.MAX_VALUE}) {
      MemorySegment ids = memory.allocate(8);
      ids.set(JAVA_LONG_UNALIGNED, 0, id);
      rejects(
          "ids[0] = %d does not lie in [0, 3)".formatted(id),
          () -> kernels.addEmbeddingSquares(one, 4, g, ids, 3, null, memory.allocate(48)));
    }
    MemorySegment dead;
    try (Arena arena = Arena.ofConfined()) {
      dead = arena.allocate(16);
    }
    rejects("gradient must be alive", () -> kernels.addSquares(dead, 1, four, 4));
    kernels.close();
    assertThatThrownBy(() -> kernels.statistics(List.of(new TypedValues(four, ElementType.F32)), 0))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  private static void rejects(
      String message, org.assertj.core.api.ThrowableAssert.ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(message);
  }

  // ---- helpers ----

  private static org.assertj.core.data.Offset<Double> within(double tolerance) {
    return org.assertj.core.data.Offset.offset(tolerance);
  }

  /**
   * One comparison for each of many elements: the assertion library is called only where it fails.
   */
  private static void assertBits(long actual, long expected, Object what, Object where) {
    if (actual != expected) {
      assertThat(actual).as("%s, seed %d, at %s", what, SEED, where).isEqualTo(expected);
    }
  }

  private static WeightedInput constant(MemorySegment values, ElementType type, double weight) {
    return new WeightedInput(values, type, null, ElementType.F32, 0, weight);
  }

  private static float[] random(int count, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] x = new float[count];
    for (int k = 0; k < count; k++) {
      x[k] = (float) random.nextDouble(-1, 1);
    }
    return x;
  }

  /**
   * Memory that ends {@code shift} bytes before an unreadable page, so that elements are unaligned
   * by it.
   */
  private MemorySegment guarded(long count, ElementType type, int shift) {
    long bytes = count * type.bytes();
    return memory.allocate(bytes + shift).asSlice(0, bytes);
  }

  private MemorySegment floats(float[] x, int shift) {
    MemorySegment segment = guarded(x.length, ElementType.F32, shift * alignment());
    MemorySegment.copy(x, 0, segment, JAVA_FLOAT_UNALIGNED, 0, x.length);
    return segment;
  }

  /** Rows of {@code width} laid out with strides; NaN between them, and nothing after the last. */
  private MemorySegment strided(float[] x, int width, long[] sizes, long[] strides) {
    long extent = width;
    for (int d = 0; d < sizes.length; d++) {
      extent += (sizes[d] - 1) * strides[d];
    }
    float[] gaps = new float[(int) extent];
    Arrays.fill(gaps, Float.NaN);
    MemorySegment segment = floats(gaps, 1);
    for (int row = 0; row < x.length / width; row++) {
      long rest = row;
      long offset = 0;
      for (int d = sizes.length - 1; d >= 0; d--) {
        offset += rest % sizes[d] * strides[d];
        rest /= sizes[d];
      }
      MemorySegment.copy(x, row * width, segment, JAVA_FLOAT_UNALIGNED, 4 * offset, width);
    }
    return segment;
  }

  private static float[] array(MemorySegment segment, int count) {
    float[] x = new float[count];
    MemorySegment.copy(segment, JAVA_FLOAT_UNALIGNED, 0, x, 0, count);
    return x;
  }

  /** Stores the value rounded to the type, and answers what was stored. */
  private static double put(MemorySegment segment, ElementType type, int index, double value) {
    switch (type) {
      case F32 -> segment.set(JAVA_FLOAT_UNALIGNED, 4L * index, (float) value);
      case F64 -> segment.set(JAVA_DOUBLE_UNALIGNED, 8L * index, value);
      case F16, BF16 -> segment.set(JAVA_SHORT_UNALIGNED, 2L * index, (short) round(value, type));
    }
    return type == ElementType.F64
        ? value
        : type == ElementType.F32 ? (float) value : decode((short) round(value, type), type);
  }

  /** The element's bits, all NaN as the same one. */
  private static long bits(MemorySegment segment, ElementType type, int index) {
    return switch (type) {
      case F32 -> Float.floatToIntBits(segment.get(JAVA_FLOAT_UNALIGNED, 4L * index));
      case F64 -> Double.doubleToLongBits(segment.get(JAVA_DOUBLE_UNALIGNED, 8L * index));
      case F16, BF16 -> {
        short bits = segment.get(JAVA_SHORT_UNALIGNED, 2L * index);
        boolean nan = Double.isNaN(decode(bits, type));
        if (nan) {
          assertThat(bits & (type == ElementType.F16 ? 0x200 : 0x40))
              .as("quiet bit of %04x", bits)
              .isNotZero();
        }
        yield nan ? 0x7FFF : bits & 0xFFFF;
      }
    };
  }

  /** Value of 16 bits, from the definition of the format. */
  private static double decode(short bits, ElementType type) {
    int fractionBits = type == ElementType.F16 ? 10 : 7;
    int maxExponent = type == ElementType.F16 ? 31 : 255;
    int exponent = (bits & 0x7FFF) >> fractionBits;
    int fraction = bits & ((1 << fractionBits) - 1);
    double sign = bits < 0 ? -1 : 1;
    if (exponent == maxExponent) {
      return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
    }
    double significand = exponent == 0 ? fraction : fraction + (1 << fractionBits);
    return sign * Math.scalb(significand, Math.max(exponent, 1) - (maxExponent / 2) - fractionBits);
  }

  private static double decodeBits(long bits, ElementType type) {
    return type == ElementType.F32 ? Float.intBitsToFloat((int) bits) : decode((short) bits, type);
  }

  /** Bits of the value rounded to nearest even: doubles are scaled by powers of two exactly. */
  private static long round(double x, ElementType type) {
    if (type == ElementType.F64) {
      return Double.doubleToLongBits(x);
    }
    if (type == ElementType.F32) {
      return Float.floatToIntBits((float) x);
    }
    if (Double.isNaN(x)) {
      return 0x7FFF;
    }
    int fractionBits = type == ElementType.F16 ? 10 : 7;
    int minExponent = type == ElementType.F16 ? -14 : -126;
    long infinity = type == ElementType.F16 ? 0x7C00 : 0x7F80;
    long sign = Double.doubleToRawLongBits(x) < 0 ? 0x8000 : 0;
    if (Double.isInfinite(x)) {
      return sign | infinity;
    }
    int exponent = Math.max(Math.getExponent(x), minExponent);
    long steps = (long) Math.rint(Math.scalb(Math.abs(x), fractionBits - exponent));
    // Steps carry into the exponent by themselves: the encoding is monotonic.
    long encoded = ((long) (exponent - minExponent) << fractionBits) + steps;
    return sign | Math.min(encoded, infinity);
  }
}
