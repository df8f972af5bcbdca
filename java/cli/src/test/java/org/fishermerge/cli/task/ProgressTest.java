package org.fishermerge.cli.task;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

/** Lines of steps, without a terminal. */
final class ProgressTest {
  private final StringWriter err = new StringWriter();

  @Test
  void aLogHasOneLineOfALongStep() {
    try (Progress progress =
        new Progress(new PrintWriter(err), "Merging", "GB", 20_000_000_000L, 1e9)) {
      progress.update(12_000_000_000L);
      progress.update(20_000_000_000L);
      assertThat(progress.lineOfLog(40)).contains("Merging: 20.00 GB in 40 s, 0.500 GB/s");
      assertThat(progress.lineOfLog(0.3)).isEmpty();
    }
    try (Progress progress = Progress.passing(new PrintWriter(err), "Loading")) {
      assertThat(progress.lineOfLog(40)).isEmpty();
    }
  }

  @Test
  void theLineFitsTheTerminal() {
    try (Progress progress =
        new Progress(new PrintWriter(err), "Evaluating", "examples", 1000, 1)) {
      assertThat(progress.line(1, 12)).isEqualTo("Evaluating  ");
      assertThat(progress.line(1, 80)).isEqualTo("Evaluating  0/1000 examples");
    }
  }
}
