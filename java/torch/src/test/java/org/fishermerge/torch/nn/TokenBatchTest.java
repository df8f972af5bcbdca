package org.fishermerge.torch.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Alignment, filling and cutting of texts. */
final class TokenBatchTest {
  private static final long OVERHEAD = 16;

  @Test
  void textsEndInTheLastColumn() {
    TokenBatch batch =
        new TokenBatch(List.of(new long[] {7, 8}, new long[] {1, 2, 3, 4}, new long[] {9}), 4);
    assertThat(batch.ids()).containsExactly(7, 7, 7, 8, 1, 2, 3, 4, 9, 9, 9, 9);
    assertThat(batch.positions(Counting.ALL)).containsExactly(0, 0, 0, 1, 0, 1, 2, 3, 0, 0, 0, 0);
    assertThat(batch.filled()).isTrue();
    assertThat(TokenBatch.of(List.of(new long[3], new long[3])).filled()).isFalse();
    assertThat(TokenBatch.of(batch.texts()).width()).isEqualTo(4);
  }

  /** By hand, after create_position_ids_from_input_ids of transformers. */
  @Test
  void padTokensTakeNoPositionOfTheirOwn() {
    TokenBatch batch =
        TokenBatch.of(
            List.of(new long[] {0, 9, 1, 1, 8, 1}, new long[] {1, 5}),
            null,
            TokenBatch.Alignment.START);
    assertThat(batch.positions(Counting.without(1)))
        .containsExactly(2, 3, 1, 1, 4, 1, 1, 2, 2, 2, 2, 2);
    assertThat(batch.positions(Counting.ALL)).containsExactly(0, 1, 2, 3, 4, 5, 0, 1, 0, 0, 0, 0);
    assertThat(Counting.without(1).count(batch.texts().getFirst())).isEqualTo(3);
  }

  @Test
  void refusesWhatIsNoBatch() {
    assertThatThrownBy(() -> TokenBatch.of(List.of())).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> TokenBatch.of(List.of(new long[0])))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new TokenBatch(List.of(new long[3]), 2))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aLongTextRunsAlone() {
    assertThat(TokenBatch.cut(new int[] {500, 40, 40, 38, 35}, 8)).containsExactly(1, 4);
    assertThat(TokenBatch.cut(new int[] {40, 40, 40, 40, 40}, 2)).hasSize(3);
    assertThat(TokenBatch.cut(new int[0], 2)).isEmpty();
  }

  /** Against every way to cut seven texts. */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void noOtherCutCostsLess(long seed) {
    Random random = new Random(seed);
    int[] lengths = random.ints(7, 1, 60).toArray();
    int most = 1 + random.nextInt(5);
    List<Integer> sizes = TokenBatch.cut(lengths, most);
    assertThat(sizes.stream().mapToInt(size -> size).sum()).isEqualTo(7);
    assertThat(sizes).allMatch(size -> size >= 1 && size <= most);
    int cuts = 0;
    int end = 0;
    for (int size : sizes) {
      end += size;
      cuts |= end < 7 ? 1 << (end - 1) : 0;
    }
    long least = Long.MAX_VALUE;
    for (int other = 0; other < 1 << 6; other++) {
      least = Math.min(least, cost(lengths, other, most));
    }
    assertThat(cost(lengths, cuts, most)).as("seed %d", seed).isEqualTo(least);
  }

  private static long cost(int[] lengths, int cuts, int most) {
    long total = 0;
    int size = 0;
    int width = 0;
    for (int i = 0; i < lengths.length; i++) {
      size++;
      width = Math.max(width, lengths[i]);
      if (i == lengths.length - 1 || (cuts >> i & 1) == 1) {
        if (size > most) {
          return Long.MAX_VALUE;
        }
        total += (long) size * width + OVERHEAD;
        size = 0;
        width = 0;
      }
    }
    return total;
  }
}
