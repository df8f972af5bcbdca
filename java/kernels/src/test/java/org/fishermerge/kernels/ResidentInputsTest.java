package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.fishermerge.testkit.EmulatedDevice;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Inputs of averages that stay in GPU memory, on an emulated device whose streams run late. */
final class ResidentInputsTest {
  private static final long SLOT_BYTES = 1 << 20;

  /** Device memory of both slots, with 24 bytes of workspace for each 16384 elements. */
  private static final long SLOTS_ON_DEVICE = 2 * (SLOT_BYTES + 24 * SLOT_BYTES / 16384);

  private static final int[] COUNTS = {3, 0, 100_001, 16384, 77, 40_003};

  private final Arena arena = Arena.ofShared();
  private final SplittableRandom random = new SplittableRandom(5);
  private final Kernels cpu = open("cpu");
  private final Kernels cuda = open("cuda");
  private final EmulatedDevice device = new EmulatedDevice();

  private static Kernels open(String provider) {
    System.setProperty(KernelOptions.CUDA_SLOT_BYTES, Long.toString(SLOT_BYTES));
    return Kernels.open(new KernelOptions(provider, "auto", Optional.empty(), 2));
  }

  @AfterEach
  void close() {
    System.clearProperty(KernelOptions.CUDA_SLOT_BYTES);
    cuda.close();
    cpu.close();
    device.close();
    arena.close();
  }

  // ---- operands ----

  private MemorySegment values(int count, ElementType type) {
    MemorySegment values = arena.allocate(Math.max(1, (long) count * type.bytes()), type.bytes());
    fill(values, count, type);
    return values.asSlice(0, (long) count * type.bytes());
  }

  private void fill(MemorySegment values, int count, ElementType type) {
    for (int j = 0; j < count; j++) {
      float x = (float) random.nextDouble(0.1, 1);
      switch (type) {
        case F32 -> values.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * j, x);
        case F16 -> values.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * j, Float.floatToFloat16(x));
        default ->
            values.set(
                ValueLayout.JAVA_SHORT_UNALIGNED, 2L * j, (short) (Float.floatToIntBits(x) >>> 16));
      }
    }
  }

  private WeightedAverage average(List<WeightedInput> inputs, int count) {
    MemorySegment out = arena.allocate(4L * count + 1).asSlice(1, 4L * count);
    return new WeightedAverage(inputs, out, ElementType.F32, count);
  }

  /** One average for each of {@link #COUNTS}, in mixed formats. */
  private List<WeightedAverage> averages(boolean withFishers) {
    List<WeightedAverage> averages = new ArrayList<>();
    for (int count : COUNTS) {
      List<WeightedInput> inputs = new ArrayList<>();
      for (ElementType type : List.of(ElementType.F32, ElementType.BF16, ElementType.F16)) {
        inputs.add(
            new WeightedInput(
                values(count, type),
                type,
                withFishers ? values(count, ElementType.F32) : null,
                ElementType.F32,
                random.nextDouble(0.1, 1),
                random.nextDouble(0.1, 1)));
      }
      averages.add(average(inputs, count));
    }
    return averages;
  }

  private static List<MemorySegment> operands(List<WeightedAverage> averages) {
    List<MemorySegment> operands = new ArrayList<>();
    for (WeightedAverage average : averages) {
      for (WeightedInput input : average.inputs()) {
        operands.add(input.values());
        if (input.fisher() != null) {
          operands.add(input.fisher());
        }
      }
    }
    return operands;
  }

  private static long bytes(List<MemorySegment> segments) {
    return segments.stream().mapToLong(MemorySegment::byteSize).sum();
  }

  private WeightedAverage withOtherWeights(WeightedAverage average) {
    List<WeightedInput> inputs = new ArrayList<>();
    for (WeightedInput input : average.inputs()) {
      inputs.add(
          new WeightedInput(
              input.values(),
              input.valueType(),
              input.fisher(),
              input.fisherType(),
              random.nextDouble(0.1, 1),
              random.nextDouble(0.1, 1)));
    }
    return average(inputs, (int) average.count());
  }

  /** Each element of a slice of the inputs. */
  private WeightedAverage slice(WeightedAverage average, int from, int to) {
    List<WeightedInput> inputs = new ArrayList<>();
    for (WeightedInput input : average.inputs()) {
      long width = input.valueType().bytes();
      MemorySegment fisher = input.fisher();
      inputs.add(
          new WeightedInput(
              input.values().asSlice(from * width, (to - from) * width),
              input.valueType(),
              fisher == null ? null : fisher.asSlice(4L * from, 4L * (to - from)),
              input.fisherType(),
              input.scale(),
              input.offset()));
    }
    return average(inputs, to - from);
  }

  // ---- oracle: the cpu provider ----

  private List<byte[]> expected(List<WeightedAverage> averages) {
    List<WeightedAverage> own = new ArrayList<>();
    for (WeightedAverage average : averages) {
      own.add(average(average.inputs(), (int) average.count()));
    }
    cpu.weightedAverages(own, List.of());
    return results(own);
  }

  private static List<byte[]> results(List<WeightedAverage> averages) {
    return averages.stream().map(a -> a.out().toArray(ValueLayout.JAVA_BYTE)).toList();
  }

  /** Computes averages on the device and returns the number of bytes sent to it. */
  private long sentFor(List<WeightedAverage> averages, List<byte[]> expected) {
    averages.forEach(average -> average.out().fill((byte) 0x55));
    long before = device.bytesSent();
    cuda.weightedAverages(averages, List.of());
    List<byte[]> actual = results(averages);
    for (int k = 0; k < averages.size(); k++) {
      assertThat(Arrays.mismatch(actual.get(k), expected.get(k))).as("average %d", k).isEqualTo(-1);
    }
    return device.bytesSent() - before;
  }

  private long sentFor(WeightedAverage average) {
    return sentFor(List.of(average), expected(List.of(average)));
  }

  // ---- tests ----

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whatIsResidentIsSentOnce(boolean withFishers) {
    List<WeightedAverage> first = averages(withFishers);
    List<WeightedAverage> second = first.stream().map(this::withOtherWeights).toList();
    List<byte[]> expected = expected(first);
    List<byte[]> expectedOfSecond = expected(second);
    List<Double> thresholds = withFishers ? List.of(0.2, 0.3, 0.4) : List.of();
    List<WeightedAverage.Statistics> streamed = cuda.weightedAverages(first, thresholds);
    long all = bytes(operands(first));
    try (ResidentInputs resident = cuda.keepResident(operands(first))) {
      assertThat(resident.onDevice()).isTrue();
      assertThat(resident.description())
          .isEqualTo("0.0 GB of inputs stay in the GPU's memory once sent");
      assertThat(sentFor(first, expected)).isEqualTo(all);
      assertThat(sentFor(second, expectedOfSecond)).isZero();
      // With thresholds there are more statistics, and parts are cut differently.
      assertThat(cuda.weightedAverages(first, thresholds)).isEqualTo(streamed);
      // The copies are used, and not the memory of the host.
      operands(first).forEach(operand -> operand.fill((byte) 0x33));
      assertThat(sentFor(first, expected)).isZero();
    }
    assertThat(sentFor(first, expected(first)))
        .as("resident no longer")
        .isGreaterThanOrEqualTo(all);
  }

  @Test
  void piecesMayBeCutDifferentlyFromCallToCall() {
    WeightedAverage whole = averages(true).get(2);
    int width = 4 + 2 + 2 + 3 * 4;
    try (ResidentInputs _ = cuda.keepResident(operands(List.of(whole)))) {
      assertThat(sentFor(slice(whole, 20_001, 30_003))).isEqualTo(10_002L * width);
      assertThat(sentFor(slice(whole, 60_001, 60_002))).isEqualTo(width);
      assertThat(sentFor(slice(whole, 10_001, 40_005))).isEqualTo(20_002L * width);
      assertThat(sentFor(slice(whole, 10_001, 40_004))).isZero();
      assertThat(sentFor(whole)).isEqualTo((100_001L - 30_004 - 1) * width);
      assertThat(sentFor(slice(whole, 1, 100_001))).isZero();
    }
  }

  /** Operands that are not resident, partly resident, or not aligned, beside ones that are. */
  @Test
  void whatIsNotResidentIsSentEachTime() {
    int count = 50_001;
    MemorySegment resident = values(count, ElementType.F32);
    MemorySegment other = values(count, ElementType.F32);
    MemorySegment partly = values(count, ElementType.F32);
    MemorySegment file = arena.allocate(4L * count + 10);
    MemorySegment odd = file.asSlice(10, 4L * count);
    fill(odd, count, ElementType.F32);
    List<WeightedInput> inputs = new ArrayList<>();
    for (MemorySegment fisher : List.of(other, partly, odd, resident)) {
      inputs.add(
          new WeightedInput(
              resident, ElementType.F32, fisher, ElementType.F32, 0.5, 0.1 * inputs.size()));
    }
    Collections.reverse(inputs);
    WeightedAverage average = average(inputs, count);
    long each = 4L * count;
    List<MemorySegment> segments = List.of(resident, partly.asSlice(4, each - 8), file);
    try (ResidentInputs inUse = cuda.keepResident(segments)) {
      assertThat(inUse.onDevice()).isTrue();
      sentFor(average);
      long sent = sentFor(average);
      // Only the first and the last part of what is partly resident go beyond it.
      assertThat(sent).isBetween(2 * each, 3 * each);
      assertThat(sentFor(average)).isEqualTo(sent);
    }
  }

  /** Inputs used in both slots: neither uses a transfer of the other that is unfinished. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void inputsMayBeShared(boolean othersFirst) {
    if (othersFirst) {
      device.runOthersFirst();
    }
    WeightedAverage one = slice(averages(true).get(2), 0, 30_001);
    List<WeightedAverage> many = new ArrayList<>(List.of(one, slice(one, 5, 20_000)));
    for (int k = 0; k < 8; k++) {
      many.add(withOtherWeights(one));
    }
    List<byte[]> expected = expected(many);
    try (ResidentInputs _ = cuda.keepResident(operands(List.of(one)))) {
      sentFor(many, expected);
      assertThat(sentFor(many, expected)).isZero();
    }
  }

  @Test
  void aFailureOfTheDeviceIsForgotten() {
    List<WeightedAverage> averages = averages(true);
    List<byte[]> expected = expected(averages);
    long all = bytes(operands(averages));
    try (ResidentInputs _ = cuda.keepResident(operands(averages))) {
      for (int failures = 1; failures <= 3; failures++) {
        device.failSynchronizations(failures);
        assertThatThrownBy(() -> cuda.weightedAverages(averages, List.of()))
            .isInstanceOf(IllegalStateException.class)
            .hasMessage("GPU: work on the device failed");
      }
      assertThat(sentFor(averages, expected)).isEqualTo(all);
      assertThat(sentFor(averages, expected)).isZero();
    }
  }

  @Test
  void aRefusalInTheMiddleIsForgotten() {
    WeightedAverage good = averages(true).get(5);
    List<WeightedInput> tooMany = Collections.nCopies(65, slice(good, 0, 10).inputs().getFirst());
    List<byte[]> expected = expected(List.of(good));
    good.out().fill((byte) 0x33);
    byte[] untouched = good.out().toArray(ValueLayout.JAVA_BYTE);
    try (ResidentInputs _ = cuda.keepResident(operands(List.of(good)))) {
      assertThatThrownBy(
              () -> cuda.weightedAverages(List.of(good, average(tooMany, 10)), List.of()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("65");
      sentFor(slice(good, 0, 100));
      assertThat(Arrays.equals(good.out().toArray(ValueLayout.JAVA_BYTE), untouched)).isTrue();
      sentFor(List.of(good), expected);
      assertThat(sentFor(List.of(good), expected)).isZero();
    }
  }

  /** All segments are resident or none: exactly if an eighth of the memory stays free. */
  @Test
  void whatDoesNotFitIsSentEachTime() {
    List<WeightedAverage> averages = averages(true);
    List<MemorySegment> operands = operands(averages);
    List<byte[]> expected = expected(averages);
    long needed =
        operands.stream().filter(s -> s.byteSize() > 0).mapToLong(s -> s.byteSize() + 256).sum();
    long enough = Math.ceilDiv(needed + SLOTS_ON_DEVICE, 7) * 8;
    device.setMemory(enough - 8);
    try (ResidentInputs resident = cuda.keepResident(operands)) {
      assertThat(resident.onDevice()).isFalse();
      assertThat(resident.description())
          .isEqualTo(
              "0.0 GB of inputs are sent to the GPU each time: of its memory 0.0 GB are free, and"
                  + " 0.0 GB of that are left to others");
      assertThat(sentFor(averages, expected)).isGreaterThanOrEqualTo(bytes(operands));
      assertThat(sentFor(averages, expected)).isGreaterThanOrEqualTo(bytes(operands));
    }
    device.setMemory(enough);
    for (int round = 0; round < 3; round++) {
      try (ResidentInputs resident = cuda.keepResident(operands)) {
        assertThat(resident.onDevice()).as("freed when closed, round %d", round).isTrue();
        assertThat(sentFor(averages, expected)).isEqualTo(bytes(operands));
        assertThat(sentFor(averages, expected)).isZero();
        try (ResidentInputs more = cuda.keepResident(operands)) {
          assertThat(more.onDevice()).isFalse();
        }
        resident.close();
      }
    }
  }

  @Test
  void whatTheDeviceDoesNotGiveIsSentEachTime() {
    List<WeightedAverage> averages = averages(true);
    List<byte[]> expected = expected(averages);
    device.setMemory(1L << 30, SLOT_BYTES);
    try (ResidentInputs resident = cuda.keepResident(operands(averages))) {
      assertThat(resident.onDevice()).isFalse();
      assertThat(resident.description())
          .isEqualTo(
              "0.0 GB of inputs are sent to the GPU each time: it does not give that much memory"
                  + " at once");
      sentFor(averages, expected);
      assertThat(sentFor(averages, expected)).isGreaterThanOrEqualTo(bytes(operands(averages)));
    }
  }

  /** A later segment at the same address is not taken for the one that was resident. */
  @Test
  void memoryThatIsGoneIsNotResident() {
    int count = 1000;
    MemorySegment memory = values(count, ElementType.F32);
    WeightedInput input = new WeightedInput(memory, ElementType.F32, null, ElementType.F32, 0, 1);
    WeightedAverage average = average(List.of(input), count);
    try (Arena brief = Arena.ofShared()) {
      cuda.keepResident(List.of(memory.reinterpret(brief, null)));
      sentFor(average);
      assertThat(sentFor(average)).isZero();
    }
    fill(memory, count, ElementType.F32);
    assertThat(sentFor(average)).isEqualTo(4L * count);
  }

  @Test
  void othersReadInputsWhereTheyAre() {
    try (ResidentInputs resident = cpu.keepResident(List.of(values(5, ElementType.F32)))) {
      assertThat(resident.onDevice()).isFalse();
      assertThat(resident.description()).isEqualTo("inputs are read where they are");
    }
    try (ResidentInputs resident = cuda.keepResident(List.of())) {
      assertThat(resident.onDevice()).isFalse();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "cuda"})
  void wrongSegmentsAreNamed(String provider) {
    Kernels kernels = provider.equals("cpu") ? cpu : cuda;
    List<MemorySegment> segments =
        List.of(values(1, ElementType.F32), MemorySegment.ofArray(new byte[4]));
    assertThatThrownBy(() -> kernels.keepResident(segments))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("segments[1] must be off-heap");
  }

  @Test
  void closingIsHarmlessInAnyOrder() {
    ResidentInputs resident = cuda.keepResident(List.of(values(5, ElementType.F32)));
    cuda.close();
    resident.close();
    resident.close();
    assertThatThrownBy(() -> cuda.keepResident(List.of()))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void slotsThatFindTooLittleMemoryTakeNone() {
    WeightedAverage average = averages(false).getFirst();
    for (long missing : List.of(1L, SLOT_BYTES, SLOTS_ON_DEVICE)) {
      long memory = SLOTS_ON_DEVICE - missing;
      device.setMemory(memory);
      assertThatThrownBy(() -> cuda.weightedAverage(average))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("bytes left");
      assertThat(cuda.gpuFreeBytes()).hasValue(memory);
    }
    device.setMemory(SLOTS_ON_DEVICE);
    cuda.weightedAverage(average);
    assertThat(cuda.gpuFreeBytes()).hasValue(0);
  }
}
