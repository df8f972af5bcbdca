package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.BitSet;
import java.util.List;
import java.util.SplittableRandom;
import org.fishermerge.kernels.Ranges.Range;
import org.junit.jupiter.api.Test;

final class RangesTest {
  @Test
  void isASetOfNumbers() {
    for (long seed = 0; seed < 50; seed++) {
      SplittableRandom random = new SplittableRandom(seed);
      Ranges ranges = new Ranges();
      BitSet expected = new BitSet();
      for (int step = 0; step < 30; step++) {
        int begin = random.nextInt(100);
        int end = random.nextInt(begin + 1, 102);
        List<Range> missing = ranges.missing(new Range(begin, end));
        BitSet found = new BitSet();
        long last = -1;
        for (Range range : missing) {
          assertThat(range.begin()).as("seed %d: apart", seed).isGreaterThan(last);
          assertThat(range.end()).isGreaterThan(range.begin());
          found.set((int) range.begin(), (int) range.end());
          last = range.end();
        }
        BitSet wanted = new BitSet();
        wanted.set(begin, end);
        wanted.andNot(expected);
        assertThat(found).as("seed %d, step %d", seed, step).isEqualTo(wanted);
        ranges.add(new Range(begin, begin + (end - begin) / 4 + 1));
        expected.set(begin, begin + (end - begin) / 4 + 1);
      }
      Ranges other = new Ranges();
      other.add(new Range(500, 600));
      other.set(ranges);
      Range all = new Range(0, 700);
      assertThat(other.missing(all)).isEqualTo(ranges.missing(all)).isNotEmpty();
    }
  }
}
