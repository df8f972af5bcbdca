package org.fishermerge.cli.tune;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.estimate.tune.BlendTuning;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link SearchProgress} on its own; {@code ResumedSearchTest} has it at work. */
final class SearchProgressTest {
  private static final List<Double> HARD =
      List.of(0.1 + 0.2, Double.POSITIVE_INFINITY, Double.MIN_VALUE, -0.0);

  @TempDir Path parent;

  private final StringWriter said = new StringWriter();
  private final List<String> warnings = new ArrayList<>();

  private Path folder() {
    return parent.resolve("out.progress");
  }

  private SearchProgress progress(String key) {
    SearchProgress progress =
        new SearchProgress(search -> folder(), new PrintWriter(said, true), warnings::add);
    progress.begin(key);
    return progress;
  }

  @Test
  void measuresOnce() {
    try (SearchProgress first = progress("a")) {
      assertThat(first.measured("x", () -> HARD)).isEqualTo(HARD);
      assertThat(first.measured("x", () -> List.of(1.0))).isEqualTo(HARD);
    }
    try (SearchProgress second = progress("a")) {
      assertThat(second.measured("x", () -> List.of(1.0))).isEqualTo(HARD);
      assertThat(second.measured("y", () -> List.of(1.0))).containsExactly(1.0);
    }
    assertThat(said.toString()).contains("going on after 1 measurements");
    assertThat(warnings).isEmpty();
  }

  @Test
  void keepsTheStateOfABlendForOneLikeIt() {
    double[][] values = {{1 / 3.0, Double.NaN}, {Double.MAX_VALUE, -0.0}};
    BlendTuning.State state =
        new BlendTuning.State(
            10,
            values,
            values,
            values,
            2,
            new BlendTuning.Result(values, HARD),
            List.of(new BlendTuning.Measurement(0, Double.NaN, 0.1)));
    try (SearchProgress first = progress("a")) {
      first.measured("x", () -> HARD);
      first.blend("b").save(state);
    }
    try (SearchProgress second = progress("a")) {
      BlendTuning.State read = second.blend("b").read().orElseThrow();
      assertThat(text(read)).isEqualTo(text(state));
      assertThat(second.blend("other").read()).isEmpty();
    }
  }

  /** Every bit of every number but a NaN's. */
  private static String text(BlendTuning.State state) {
    return Arrays.deepToString(
        new Object[] {
          state.step(),
          state.coefficients(),
          state.first(),
          state.second(),
          state.worse(),
          state.best().coefficients(),
          state.best().confirming(),
          state.told()
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n", "a", "no search\n{}\n"})
  void damagedFilesAreNotUsed(String text) throws IOException {
    try (SearchProgress first = progress("a")) {
      first.measured("x", () -> HARD);
    }
    Path file = folder().resolve("progress.txt");
    String whole = Files.readString(file);
    Files.writeString(file, text.equals("a") ? whole.substring(0, whole.length() / 2) : text);
    try (SearchProgress second = progress("a")) {
      assertThat(second.measured("x", () -> List.of(1.0))).containsExactly(1.0);
    }
    assertThat(warnings).containsExactly(folder() + " is damaged; starting from the first try");
  }

  @Test
  void leavesNothingWithoutAnythingFinished() {
    progress("a").close();
    assertThat(folder()).doesNotExist();
  }

  @Test
  void isRemovedAtTheEnd() {
    try (SearchProgress progress = progress("a")) {
      progress.measured("x", () -> HARD);
      assertThat(folder()).isNotEmptyDirectory();
      progress.remove();
    }
    assertThat(folder()).doesNotExist();
  }

  @Test
  void isOneSearchsAtATime() {
    try (SearchProgress first = progress("a")) {
      first.measured("x", () -> HARD);
      try (SearchProgress second =
          new SearchProgress(search -> folder(), new PrintWriter(said), warnings::add)) {
        assertThatThrownBy(() -> second.begin("a"))
            .isInstanceOf(InputException.class)
            .hasMessageContaining("out.progress: another search is at work there; wait for it");
      }
      assertThat(folder()).isNotEmptyDirectory();
    }
    progress("a").close();
  }

  /** A folder that has become a file is as good as a disk that takes nothing. */
  @Test
  void savingThatFailsDoesNotStopTheSearch() throws IOException {
    try (SearchProgress progress = progress("a")) {
      Files.delete(folder().resolve("lock"));
      Files.delete(folder());
      Files.writeString(folder(), "in the way");
      assertThat(progress.measured("x", () -> HARD)).isEqualTo(HARD);
      assertThat(progress.measured("y", () -> HARD)).isEqualTo(HARD);
    }
    assertThat(warnings)
        .singleElement()
        .asString()
        .contains("the progress cannot be saved, the search goes on: ", "out.progress");
  }
}
