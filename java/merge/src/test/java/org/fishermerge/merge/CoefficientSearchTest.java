package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.merge.CoefficientSearch.Score;
import org.fishermerge.merge.CoefficientSearch.Try;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class CoefficientSearchTest {
  private static List<Try> tries(int models, int tries, long seed, List<Double> optimum) {
    List<Try> done = new ArrayList<>();
    Try best =
        CoefficientSearch.run(
            models, tries, seed, coefficients -> nearness(coefficients, optimum), done::add);
    assertThat(done).hasSize(tries);
    assertThat(done).allMatch(each -> each.score().compareTo(best.score()) <= 0);
    assertThat(best).isIn(done);
    done.add(best);
    return done;
  }

  /** Equal accuracy everywhere, so that the loss, a squared distance, decides. */
  private static Score nearness(List<Double> coefficients, List<Double> optimum) {
    return new Score(0.5, squaredDistance(coefficients, optimum));
  }

  private static double squaredDistance(List<Double> a, List<Double> b) {
    double sum = 0;
    for (int i = 0; i < a.size(); i++) {
      sum += (a.get(i) - b.get(i)) * (a.get(i) - b.get(i));
    }
    return sum;
  }

  @ParameterizedTest
  @CsvSource({
    "1, 0.5",
    "2, 0.5 0",
    "3, 0.5 0 1",
    "4, 0.5 0 0.25 1",
    "5, 0.5 0 0.25 0.75 1",
  })
  void twoModelsAreTriedOnAGrid(int tries, String shares) {
    List<Try> done = tries(2, tries, 1, List.of(0.3, 0.7));
    done.removeLast();
    assertThat(done.stream().map(each -> each.coefficients().getFirst()))
        .containsExactlyElementsOf(
            List.of(shares.split(" ", -1)).stream().map(Double::valueOf).toList());
    assertThat(done)
        .allSatisfy(each ->
            assertThat(each.coefficients().get(0) + each.coefficients().get(1)).isEqualTo(1));
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 8})
  void comesNearTheOptimumOfMoreModels(int models) {
    List<Double> optimum = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      optimum.add(2.0 * (i + 1) / (models * (models + 1.0)));
    }
    for (long seed = 0; seed < 20; seed++) {
      List<Try> done = tries(models, 60, seed, optimum);
      Try best = done.removeLast();
      for (Try each : done) {
        assertThat(each.coefficients()).as("seed %d", seed).allMatch(c -> c >= 0);
        assertThat(each.coefficients().stream().mapToDouble(c -> c).sum())
            .as("seed %d", seed)
            .isCloseTo(1, within(1e-12));
      }
      assertThat(best.score().loss())
          .as("seed %d", seed)
          .isLessThan(0.5 * squaredDistance(done.getFirst().coefficients(), optimum));
    }
  }

  @Test
  void theSeedFixesWhatIsTried() {
    List<Double> optimum = List.of(0.2, 0.3, 0.5);
    assertThat(tries(3, 9, 5, optimum)).isEqualTo(tries(3, 9, 5, optimum));
    assertThat(tries(3, 9, 5, optimum)).isNotEqualTo(tries(3, 9, 6, optimum));
  }

  @Test
  void accuracyComesBeforeLossAndTheEarliestOfEqualsWins() {
    assertThat(new Score(0.6, 9)).isGreaterThan(new Score(0.5, 1));
    assertThat(new Score(0.5, 1)).isGreaterThan(new Score(0.5, 2));
    assertThat(CoefficientSearch.run(2, 5, 1, c -> new Score(0.5, 1), each -> {}).coefficients())
        .containsExactly(0.5, 0.5);
  }

  @Test
  void refusesWhatIsNoSearch() {
    assertThatThrownBy(() -> CoefficientSearch.run(1, 5, 1, c -> new Score(0, 0), each -> {}))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> CoefficientSearch.run(2, 0, 1, c -> new Score(0, 0), each -> {}))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
