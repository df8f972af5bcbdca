package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is said after a signal; {@link KilledCommandsIT} sends one. */
final class StoppedCommandsTest {
  @ParameterizedTest
  @CsvSource({"fisher, true", "run, true", "search, true", "merge, false", "evaluate, false"})
  void onlyWhatSavesItsProgressGoesOn(String command, boolean goesOn) {
    String said = Main.stopped(List.of(command, "--model", "run"));
    assertThat(said).startsWith("stopped; nothing half-written is left. The same command ");
    assertThat(said.contains("goes on from what is finished")).isEqualTo(goesOn);
    assertThat(said.contains("begins anew")).isNotEqualTo(goesOn);
  }

  @Test
  void aDemoKeepsItsFolder() {
    assertThat(Main.stopped(List.of("demo", "--out", "d"))).contains("stays in its folder");
    assertThat(Main.stopped(List.of("demo", "--train", "f"))).contains("same command begins anew");
  }
}
