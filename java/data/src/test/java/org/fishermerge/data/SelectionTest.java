package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SelectionTest {
  @Test
  void firstTakesStoredOrder() {
    assertThat(new Selection.First(3).rows(5)).containsExactly(0, 1, 2);
    assertThat(new Selection.First(Long.MAX_VALUE).rows(2)).containsExactly(0, 1);
  }

  /** Computed from the documented definition by a Python program with big integers. */
  @Test
  void shuffledIsTheDocumentedPermutation() {
    assertThat(new Selection.Shuffled(10, 0).rows(10))
        .containsExactly(8, 4, 2, 9, 1, 6, 5, 3, 0, 7);
    assertThat(new Selection.Shuffled(5, 42).rows(1000)).containsExactly(741, 160, 280, 346, 41);
    assertThat(new Selection.Shuffled(6, -1).rows(73_257))
        .containsExactly(65_487, 66_854, 16_080, 31_226, 51_689, 60_413);
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 7, Long.MIN_VALUE, -5})
  void shuffledTakesEachExampleOnceAndGrowsByAppending(long seed) {
    long[] all = new Selection.Shuffled(Long.MAX_VALUE, seed).rows(997);
    assertThat(all).hasSize(997).doesNotHaveDuplicates();
    assertThat(Arrays.stream(all)).allMatch(index -> index >= 0 && index < 997);
    assertThat(all).startsWith(new Selection.Shuffled(100, seed).rows(997));
  }

  /** Computed from the documented definition by a Python program that deals round by round. */
  @Test
  void stratifiedIsTheDocumentedChoice() {
    assertThat(stratified(6, 0, LongStream.range(0, 12).map(i -> i % 3).toArray()))
        .containsExactly(6, 2, 1, 5, 9, 10);
    // Both rows of -2 are fewer than its share.
    assertThat(stratified(8, 42, 5, -2, 5, 5, 5, 7, 5, -2, 7, 5, 7, 5))
        .containsExactly(2, 10, 4, 1, 8, 3, 5, 7);
    // Rows without a label are not chosen.
    assertThat(stratified(99, 42, 5, -1, 5, 7, -1)).containsExactlyInAnyOrder(0, 2, 3);
    assertThat(stratified(17, -3, LongStream.range(0, 50).map(i -> i * i % 7).toArray()))
        .containsExactly(27, 44, 26, 31, 11, 16, 24, 17, 49, 2, 0, 28, 22, 1, 19, 21, 43);
    // Fewer examples than classes.
    assertThat(stratified(4, 1, LongStream.range(0, 100).map(i -> i % 10).toArray()))
        .containsExactly(76, 59, 87, 45);
  }

  @ParameterizedTest(name = "{0} examples")
  @ValueSource(longs = {1, 6, 7, 20, 49, 50, 51, 99, 340, 341, Long.MAX_VALUE})
  void stratifiedTakesAsManyOfEachClassAsThereAre(long count) {
    int[] sizes = {1, 300, 3, 20, 7, 10}; // 341 examples, class 0 first
    long[] labels =
        IntStream.range(0, sizes.length)
            .boxed()
            .flatMapToLong(label -> LongStream.generate(() -> label).limit(sizes[label]))
            .toArray();
    long[] rows = stratified(count, 5, labels);
    assertThat(rows).hasSize((int) Math.min(count, 341)).doesNotHaveDuplicates();
    int[] taken = new int[sizes.length];
    for (long row : rows) {
      taken[(int) labels[(int) row]]++;
    }
    for (int c = 0; c < sizes.length; c++) {
      assertThat(taken[c]).isLessThanOrEqualTo(sizes[c]);
      for (int other = 0; other < sizes.length; other++) {
        // Only a class that gave all it has may give less, by more than the one that is left over.
        assertThat(taken[c] >= taken[other] - 1 || taken[c] == sizes[c])
            .as("%s of %s", Arrays.toString(taken), Arrays.toString(sizes))
            .isTrue();
      }
    }
  }

  @Test
  void stratifiedMixesTheClasses() {
    long[] labels = LongStream.range(0, 100).map(i -> i / 50).toArray();
    long[] rows = stratified(50, 3, labels);
    int changes = 0;
    for (int i = 1; i < rows.length; i++) {
      changes += labels[(int) rows[i]] != labels[(int) rows[i - 1]] ? 1 : 0;
    }
    // 25 in the mean over all orders, with a standard deviation of 3.5.
    assertThat(changes).isBetween(12, 38);
  }

  private static long[] stratified(long count, long seed, long... labels) {
    return new Selection.Stratified(count, seed).rows(labels);
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
    assertThatThrownBy(() -> new Selection.Stratified(0, 3))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
