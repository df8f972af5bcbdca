package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.objective.Objective;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The arithmetic of a plan, by hand; the measured parts are compared by the command itself. */
final class MemoryPlanTest {
  private static final Objective EXACT = Objective.parse("exact");

  // 100 for an example, 10 for a pair of example and probe, 3 probes, at most 12 pairs at a time.
  private static final BatchMemory BATCH = new BatchMemory(100, 10, 3, 12);

  private static MemoryPlan plan(long free) {
    return new MemoryPlan(false, 5_000, 5_000, BATCH, 0, 0, 1_000, free);
  }

  @ParameterizedTest
  @CsvSource({"1, 130", "4, 520", "5, 620", "12, 1320", "20, 2200"})
  void pairsBeyondThoseTogetherCostNothing(int examples, long bytes) {
    assertThat(BATCH.bytes(examples)).isEqualTo(bytes);
  }

  @Test
  void thePeakIsTheSumOfItsParts() {
    MemoryPlan plan = plan(100_000);
    assertThat(plan.peak(4)).isEqualTo(5_000 + 5_000 + plan.activations(4) + 1_000);
    assertThat(plan.activations(4)).isBetween(520L, 2 * 520L);
    assertThat(plan.text(4)).contains("batch of 4").contains("= 0.00 GB of 0.00 GB free");
  }

  @Test
  void theLineNamesEveryPart() {
    long million = 1_000_000;
    // Batches of 4: 4 examples of 100 MB and 12 pairs of 10 MB, and a tenth lost to malloc; 4
    // pictures of 0.6 MB in each of three batches, one of which is worked on.
    BatchMemory batch = new BatchMemory(100 * million, 10 * million, 3, 12);
    MemoryPlan plan =
        new MemoryPlan(
            false,
            1_213 * million,
            2_426 * million,
            batch,
            600_000,
            2,
            150 * million,
            9_876 * million);
    assertThat(plan.text(4))
        .isEqualTo(
            "weights 1.21 GB + statistics 2.43 GB + batch of 4: 0.57 GB + pictures 0.01 GB + Java,"
                + " libtorch 0.15 GB = 4.37 GB of 9.88 GB free");
  }

  @Test
  void aGpuHasNeitherJavaNorPictures() {
    MemoryPlan plan =
        new MemoryPlan(true, 1_000_000_000, 1_000_000_000, BATCH, 0, 0, 0, 80_000_000_000L);
    assertThat(plan.text(4))
        .isEqualTo(
            "weights 1.00 GB + statistics 1.00 GB + batch of 4: 0.00 GB = 2.00 GB of 80.00 GB free on"
                + " the GPU");
    assertThat(plan.largest(1_000)).isEqualTo(64);
    assertThat(plan.without(79_000_000_000L).fits(4)).isFalse();
  }

  @Test
  void whatDoesNotFitIsRefusedWithWhatWould() {
    EstimationSettings.Spelling spelling = (setting, value) -> "--" + setting + " " + value;
    plan(plan(0).peak(4)).requireFits(4, spelling);
    assertThatThrownBy(() -> plan(plan(0).peak(4) - 1).requireFits(4, spelling))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("batches of 4 need")
        .hasMessageEndingWith("--batch-size 3 fits");
    assertThatThrownBy(() -> plan(plan(0).peak(1) - 1).requireFits(4, spelling))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("one example needs")
        .hasMessageContaining("end other programs");
  }

  /** With nothing but weights and sums, which are not there yet. */
  @Test
  void sumsThatDoNotFitAreFoundBeforeTheyAreMade() {
    MemoryPlan onGpu = MemoryPlan.before(3_000, 5_000, OptionalLong.of(5_000)).orElseThrow();
    assertThat(onGpu.peak(7)).isEqualTo(8_000);
    assertThat(onGpu.fits(7)).isTrue();
    assertThat(MemoryPlan.before(3_000, 5_000, OptionalLong.of(4_999)).orElseThrow().fits(1))
        .isFalse();
    long much = 1L << 60;
    MemoryPlan here = MemoryPlan.before(3_000, much, OptionalLong.empty()).orElseThrow();
    assertThat(here.matters(1)).isTrue();
    assertThatThrownBy(() -> here.requireFits(2, (setting, value) -> ""))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("of memory")
        .hasMessageEndingWith("end other programs, or take a larger machine");
  }

  @Test
  void onlyAFixedSizeOfOneIsTriedWithOneExample() {
    assertThat(BatchSize.isOne("1")).isTrue();
    assertThat(BatchSize.isOne("2")).isFalse();
    assertThat(BatchSize.isOne("auto")).isFalse();
  }

  @Test
  void smallRunsAreNotWorthALine() {
    assertThat(plan(100_000).matters(4)).isFalse();
    assertThat(new MemoryPlan(false, 1L << 30, 1L << 30, BATCH, 0, 0, 0, 1L << 33).matters(1))
        .isTrue();
  }

  @Test
  void theLargestBatchIsTheLastThatFits() {
    for (long free : new long[] {15_400, 16_000, 17_000, 18_000}) {
      MemoryPlan plan = plan(free);
      int size = plan.largest(1_000);
      assertThat(size).isBetween(1, MemoryPlan.LARGEST_AUTO);
      assertThat(plan.peak(size)).isLessThanOrEqualTo(free);
      assertThat(size == MemoryPlan.LARGEST_AUTO || 4 * plan.peak(size + 1) > 3 * free)
          .as("a batch of %d would fit too", size + 1)
          .isTrue();
    }
    assertThat(plan(15_400).largest(1_000)).isLessThan(plan(18_000).largest(1_000));
  }

  @Test
  void neverMoreThanThereAreExamplesAndNeverNone() {
    assertThat(plan(Long.MAX_VALUE).largest(3)).isEqualTo(3);
    assertThat(plan(Long.MAX_VALUE).largest(1_000)).isEqualTo(MemoryPlan.LARGEST_AUTO);
    assertThat(plan(10).largest(1_000)).isEqualTo(1);
  }

  @Test
  void autoFollowsThePlanAndANumberItself() {
    assertThat(BatchSize.choose("auto", Optional.of(plan(Long.MAX_VALUE)), 7, EXACT)).isEqualTo(7);
    assertThat(BatchSize.choose("5", Optional.of(plan(10)), 100, EXACT)).isEqualTo(5);
    assertThat(BatchSize.choose("auto", Optional.empty(), 3, EXACT)).isEqualTo(3);
    assertThat(BatchSize.choose("auto", Optional.empty(), 100, EXACT)).isBetween(1, 32);
    // The definition of batch squares, not memory, sets theirs.
    assertThat(
            BatchSize.choose("auto", Optional.of(plan(10)), 100, Objective.parse("batch-square")))
        .isEqualTo(32);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-1", "many", "", "1.5", "99999999999"})
  void refusesWhatIsNoBatchSize(String option) {
    assertThatThrownBy(
            () -> BatchSize.check(option, (setting, value) -> "the " + setting + " " + value))
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith("the batch-size " + option);
  }
}
