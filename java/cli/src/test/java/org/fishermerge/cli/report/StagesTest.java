package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Objects;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.torch.runtime.SystemMemory;
import org.junit.jupiter.api.Test;

final class StagesTest {
  private static final long BYTES = 256L << 20;

  private final ReportBuilder report = new ReportBuilder("demo", List.of());

  @Test
  void comeInOrderWithTheirPlans() {
    try (Stages stages = new Stages(report)) {
      stages.begin();
      stages.end("first", 5L);
      stages.begin();
      stages.end("second");
    }
    List<Stage> found = report.build().stages();
    assertThat(found).extracting(Stage::name).containsExactly("first", "second");
    assertThat(found).extracting(Stage::plannedBytes).containsExactly(5L, null);
    assertThat(found).allSatisfy(stage -> assertThat(stage.seconds()).isNotNegative());
  }

  /** What one stage takes and frees is no part of the next one's peak. */
  @Test
  void haveEachItsOwnPeakOfMemory() {
    assumeTrue(SystemMemory.used().isPresent(), "the system does not say what a process takes");
    try (Stages stages = new Stages(report)) {
      stages.begin();
      try (Arena arena = Arena.ofConfined()) {
        arena.allocate(BYTES).fill((byte) 1);
        stages.end("large");
      }
      stages.begin();
      stages.end("small");
    }
    List<Stage> found = report.build().stages();
    long large = Objects.requireNonNull(found.get(0).peakBytes());
    long small = Objects.requireNonNull(found.get(1).peakBytes());
    assertThat(large).isGreaterThan(BYTES);
    assertThat(small).isPositive().isLessThan(large - BYTES / 2);
  }
}
