package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SelectionTest {
  @Test
  void firstTakesStoredOrder() {
    assertThat(new Selection.First(3).indices(5)).containsExactly(0, 1, 2);
    assertThat(new Selection.First(Long.MAX_VALUE).indices(2)).containsExactly(0, 1);
  }

  /** Computed from the documented definition by a Python program with big integers. */
  @Test
  void shuffledIsTheDocumentedPermutation() {
    assertThat(new Selection.Shuffled(10, 0).indices(10))
        .containsExactly(8, 4, 2, 9, 1, 6, 5, 3, 0, 7);
    assertThat(new Selection.Shuffled(5, 42).indices(1000)).containsExactly(741, 160, 280, 346, 41);
    assertThat(new Selection.Shuffled(6, -1).indices(73_257))
        .containsExactly(65_487, 66_854, 16_080, 31_226, 51_689, 60_413);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 7, Long.MIN_VALUE, -5})
  void shuffledTakesEachExampleOnceAndGrowsByAppending(long seed) {
    long[] all = new Selection.Shuffled(Long.MAX_VALUE, seed).indices(997);
    assertThat(all).hasSize(997).doesNotHaveDuplicates();
    assertThat(Arrays.stream(all)).allMatch(index -> index >= 0 && index < 997);
    assertThat(all).startsWith(new Selection.Shuffled(100, seed).indices(997));
  }

  @Test
  void countSaysHowManyAreTaken() {
    assertThat(new Selection.Shuffled(256, 1).count(100)).isEqualTo(100);
    assertThat(new Selection.First(256).count(1000)).isEqualTo(256);
  }

  @Test
  void refusesNothing() {
    assertThatThrownBy(() -> new Selection.First(0)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Selection.Shuffled(-1, 3))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
