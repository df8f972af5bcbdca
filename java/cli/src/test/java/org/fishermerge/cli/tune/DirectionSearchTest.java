package org.fishermerge.cli.tune;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.cli.tune.DirectionSearch.Try;
import org.fishermerge.merge.Average;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** On valleys whose lowest point is known. */
final class DirectionSearchTest {
  private static final Direction AVERAGE = direction("average");
  private static final Direction.Family FISHER = new Direction.Family.Single(direction("diagonal"));
  private static final Direction.Family DAMPED =
      new Direction.Family.Damped(0.01, damping -> direction("damped " + damping));

  private static Direction direction(String name) {
    return new Direction(name, List.of(), new Average());
  }

  private static double damping(Direction direction) {
    return Double.parseDouble(direction.name().replace("damped ", ""));
  }

  /** Of the damped rule, lowest at a damping and a scale; the others have valleys of their own. */
  private static double valley(Direction direction, double scale, double damping, double best) {
    if (direction.name().equals("average")) {
      return 2 + Math.abs(scale - 2);
    }
    if (direction.name().equals("diagonal")) {
      return 1.5 + Math.abs(scale - 0.7);
    }
    return 0.2 * Math.abs(Math.log10(damping(direction) / damping))
        + Math.pow(Math.log(scale / best), 2);
  }

  static Stream<Arguments> valleys() {
    return Stream.of(0.002, 0.01, 0.3, 5.0)
        .flatMap(damping ->
            Stream.of(0.5, 0.85, 1.0, 1.3, 2.5).map(scale -> Arguments.of(damping, scale)));
  }

  @ParameterizedTest
  @MethodSource("valleys")
  void comesCloseToTheLowestPoint(double damping, double scale) {
    List<Try> heard = new ArrayList<>();
    List<Try> tries =
        DirectionSearch.run(
            AVERAGE,
            List.of(FISHER, DAMPED),
            60,
            () -> false,
            (direction, s) -> valley(direction, s, damping, scale),
            heard::add);
    assertThat(heard).isEqualTo(tries);
    Try best = DirectionSearch.best(tries);
    assertThat(Math.log10(damping(best.direction()) / damping)).isCloseTo(0, within(0.5));
    assertThat(best.scale() / scale).isBetween(1 / 1.12, 1.12);
    assertThat(tries.size()).isLessThan(45);
    assertThat(tries).doesNotHaveDuplicates();
  }

  @Test
  void theBaseAndEveryRuleComeFirst() {
    List<Try> tries =
        DirectionSearch.run(
            AVERAGE, List.of(FISHER, DAMPED), 4, () -> false, (direction, s) -> 1, each -> {});
    assertThat(tries).extracting(Try::scale).containsExactly(0.0, 1.0, 1.0, 1.0);
    assertThat(tries)
        .extracting(each -> each.direction().name())
        .containsExactly("average", "average", "diagonal", "damped 0.01");
    assertThat(DirectionSearch.best(tries)).as("the earliest of equals").isEqualTo(tries.get(0));
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "2, 2", "7, 7"})
  void endsWithItsTries(int tries, int expected) {
    assertThat(
            DirectionSearch.run(
                AVERAGE,
                List.of(FISHER, DAMPED),
                tries,
                () -> false,
                (direction, s) -> valley(direction, s, 0.3, 1.3),
                each -> {}))
        .hasSize(expected);
  }

  @Test
  void endsWhenTimeIsUpButNotWithoutAnyTry() {
    assertThat(
            DirectionSearch.run(
                AVERAGE, List.of(FISHER), 30, () -> true, (direction, s) -> 1, each -> {}))
        .hasSize(1);
  }

  /** A merge that overflows is never the best, and ends no search of the others. */
  @Test
  void infiniteDivergencesAreLeftOut() {
    List<Try> tries =
        DirectionSearch.run(
            AVERAGE,
            List.of(FISHER, DAMPED),
            30,
            () -> false,
            (direction, s) ->
                direction.name().startsWith("damped") ? Double.POSITIVE_INFINITY : 3 - s,
            each -> {});
    assertThat(DirectionSearch.best(tries).divergence()).isFinite();
    assertThat(tries).anyMatch(each -> each.direction().name().startsWith("damped"));
  }
}
