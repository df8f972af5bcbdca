package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Finds the element of a rank, exactly, in one pass over memory. A sample of one group of elements
 * in each stretch brackets the magnitude that is looked for; the pass counts what lies outside the
 * bracket and gathers what lies within. Where the sample misleads, the magnitude is found by
 * bisection instead.
 */
final class MagnitudeRanks {
  /** Elements of a block, whose counts are kept to find a place again. */
  private static final int BLOCK = 65536;

  /** The sample takes a group in each stretch of so many elements. */
  private static final int STRETCH = 1024;

  private static final int GROUP = 16;
  private static final long MOST_GROUPS = 1 << 16;

  /** Up to so many elements are looked at all at once. */
  private static final int FEW = 16384;

  /**
   * Standard deviations of a sample's rank to either side: 4 would do for independent elements, and
   * 16 neighbours, which are sampled together, may be alike.
   */
  private static final double DEVIATIONS = 8;

  /** Room for what lies within the bracket, as a share of all; the bracket aims far below. */
  private static final int ROOM_SHARE = 8;

  private static final long MOST_FOUND = 8L << 20;

  private static final int BUCKET_BITS = 11;

  /** The magnitudes of finite numbers, and infinity, as integers in the same order. */
  private static final int LARGEST = Float.floatToRawIntBits(Float.POSITIVE_INFINITY);

  private final MagnitudeScan magnitudes;
  private final long count;
  private final MemorySegment found;
  private final MemorySegment block;
  private final long room;

  /** Of the last scan: its bracket, and each block's counts and first magnitude found. */
  private int lowest;

  private int highest;
  private final MagnitudeScan.@Nullable Counts[] counts;
  private final long[] firstFound;

  private MagnitudeRanks(MagnitudeScan magnitudes, long count, Arena arena) {
    this.magnitudes = magnitudes;
    this.count = count;
    this.counts = new MagnitudeScan.Counts[Math.toIntExact(Math.ceilDiv(count, BLOCK))];
    this.firstFound = new long[counts.length + 1];
    this.room = Math.clamp(count / ROOM_SHARE, FEW, MOST_FOUND);
    this.block = arena.allocate(JAVA_FLOAT, Math.min(count, BLOCK));
    // The scan of a block may write as many as the block has.
    this.found = count <= FEW ? block : arena.allocate(JAVA_FLOAT, room + BLOCK);
  }

  /** The element that a query asks for. */
  static RankedMagnitude find(MagnitudeScan magnitudes, MagnitudeQuery query) {
    try (Arena arena = Arena.ofConfined()) {
      MagnitudeRanks ranks = new MagnitudeRanks(magnitudes, query.count(), arena);
      // By falling magnitude the ranks of magnitudes run backwards, those of equal ones do not.
      long rising = query.descending() ? query.count() - 1 - query.rank() : query.rank();
      Selected selected = ranks.select(rising);
      long above = query.count() - selected.below() - selected.equal();
      long among = query.rank() - (query.descending() ? above : selected.below());
      return new RankedMagnitude(
          Float.intBitsToFloat(selected.key()), ranks.place(selected.key(), among));
    }
  }

  /** A magnitude as an integer, how many are smaller, and how many equal. */
  private record Selected(int key, long below, long equal) {}

  private Selected select(long rank) {
    if (count <= FEW) {
      int[] keys = all(0, count);
      Selected selected = select(keys, (int) rank, 0, LARGEST);
      note(
          0,
          selected.key(),
          selected.key(),
          new MagnitudeScan.Counts(0, selected.equal(), 0, 0),
          0);
      return selected;
    }
    int[] sample = sample();
    double share = (double) rank / count;
    double spread =
        DEVIATIONS * Math.sqrt(sample.length * Math.max(share * (1 - share), 1.0 / count)) + GROUP;
    int low = (int) Math.clamp(Math.floor(share * sample.length - spread), 0, sample.length - 1.0);
    int high = (int) Math.clamp(Math.ceil(share * sample.length + spread), 0, sample.length - 1.0);
    Selected from = select(sample.clone(), low, 0, LARGEST);
    Selected to = select(sample, high, 0, LARGEST);
    Selected selected =
        within(rank, low == 0 ? 0 : from.key(), high == sample.length - 1 ? LARGEST : to.key());
    return selected == null ? bisect(rank) : selected;
  }

  /** The magnitude of a rank, if it lies in the bracket and that does not hold too many. */
  private @Nullable Selected within(long rank, int low, int high) {
    long below = 0;
    long atLow = 0;
    long between = 0;
    long atHigh = 0;
    for (int b = 0; b < counts.length; b++) {
      MagnitudeScan.Counts there = scan(b, low, high, found.asSlice(between * Float.BYTES));
      below += there.below();
      atLow += there.atLow();
      between += there.between();
      atHigh += there.atHigh();
      note(b, low, high, there, between);
      if (between > room) {
        return null;
      }
    }
    if (rank < below) {
      return null;
    }
    if (rank < below + atLow) {
      return new Selected(low, below, atLow);
    }
    long within = rank - below - atLow;
    if (within < between) {
      int[] keys = found.asSlice(0, between * Float.BYTES).toArray(JAVA_INT);
      Selected selected = select(keys, (int) within, low, high);
      return new Selected(selected.key(), below + atLow + selected.below(), selected.equal());
    }
    return within < between + atHigh ? new Selected(high, below + atLow + between, atHigh) : null;
  }

  private void note(int b, int low, int high, MagnitudeScan.Counts there, long foundUntil) {
    lowest = low;
    highest = high;
    counts[b] = there;
    firstFound[b + 1] = foundUntil;
  }

  private MagnitudeScan.Counts scan(int b, int low, int high, MemorySegment target) {
    long begin = (long) b * BLOCK;
    return magnitudes.scan(
        Float.intBitsToFloat(low),
        Float.intBitsToFloat(high),
        target,
        begin,
        Math.min(count, begin + BLOCK));
  }

  private Selected bisect(long rank) {
    int low = 0;
    int high = LARGEST;
    while (true) {
      int middle = low + (high - low) / 2;
      long below = 0;
      long equal = 0;
      for (int b = 0; b < counts.length; b++) {
        MagnitudeScan.Counts there = scan(b, middle, middle, block);
        note(b, middle, middle, there, 0);
        below += there.below();
        equal += there.atLow();
      }
      if (rank < below) {
        high = middle - 1;
      } else if (rank < below + equal || middle == high) {
        return new Selected(middle, below, equal);
      } else {
        low = middle + 1;
      }
    }
  }

  /** Where the {@code among}-th of equal magnitudes lies; 0 for the first. */
  private long place(int key, long among) {
    long before = 0;
    for (int b = 0; b < counts.length && among > 0; b++) {
      long equal = equal(b, key);
      if (before + equal > among) {
        long begin = (long) b * BLOCK;
        int[] keys = all(begin, Math.min(count, begin + BLOCK));
        for (int k = 0; k < keys.length; k++) {
          if (keys[k] == key && before++ == among) {
            return begin + k;
          }
        }
      }
      before += equal;
    }
    return 0;
  }

  /** How many magnitudes of a block are the one that was selected. */
  private long equal(int b, int key) {
    if (key == lowest) {
      return Objects.requireNonNull(counts[b]).atLow();
    }
    if (key == highest) {
      return Objects.requireNonNull(counts[b]).atHigh();
    }
    long equal = 0;
    long end = firstFound[b + 1];
    for (long k = firstFound[b]; k < end; k++) {
      equal += found.getAtIndex(JAVA_INT, k) == key ? 1 : 0;
    }
    return equal;
  }

  /** All magnitudes of a range, as integers; NaN counts as the largest. */
  private int[] all(long begin, long end) {
    int length = (int) (end - begin);
    int[] keys = new int[length];
    MagnitudeScan.Counts there = magnitudes.scan(-1, Float.MAX_VALUE, block, begin, end);
    if (there.between() == length) {
      MemorySegment.copy(block, JAVA_INT, 0, keys, 0, length);
      return keys;
    }
    // Some are the largest number, infinite or NaN: one by one, so that none loses its place.
    for (int k = 0; k < length; k++) {
      there = magnitudes.scan(-1, Float.MAX_VALUE, block, begin + k, begin + k + 1);
      keys[k] =
          there.between() == 1
              ? block.get(JAVA_INT, 0)
              : there.atHigh() == 1 ? Float.floatToRawIntBits(Float.MAX_VALUE) : LARGEST;
    }
    return keys;
  }

  private int[] sample() {
    long stretch = Math.max(STRETCH, Math.ceilDiv(count, MOST_GROUPS));
    int groups = Math.toIntExact(count / stretch);
    int[] sample = new int[groups * GROUP];
    for (int g = 0; g < groups; g++) {
      // Anywhere in its stretch, so that it meets no period of the tensor's.
      long offset = Integer.toUnsignedLong(Kept.hash(g, 0)) % (stretch - GROUP);
      long begin = g * stretch + offset;
      int[] group = all(begin, begin + GROUP);
      System.arraycopy(group, 0, sample, g * GROUP, GROUP);
    }
    return sample;
  }

  /** Selects by ever finer histograms of what is left, which it moves to the front. */
  private static Selected select(int[] keys, int rank, int least, int most) {
    int low = least;
    int high = most;
    int length = keys.length;
    int left = rank;
    int below = 0;
    int[] histogram = new int[1 << BUCKET_BITS];
    while (low < high) {
      int width = Integer.SIZE - Integer.numberOfLeadingZeros(high - low);
      int shift = Math.max(0, width - BUCKET_BITS);
      Arrays.fill(histogram, 0);
      for (int k = 0; k < length; k++) {
        histogram[(keys[k] - low) >>> shift]++;
      }
      int bucket = 0;
      while (left >= histogram[bucket]) {
        left -= histogram[bucket];
        below += histogram[bucket++];
      }
      int kept = 0;
      for (int k = 0; k < length; k++) {
        if ((keys[k] - low) >>> shift == bucket) {
          keys[kept++] = keys[k];
        }
      }
      length = kept;
      low += bucket << shift;
      high = Math.min(high, low + (1 << shift) - 1);
    }
    return new Selected(low, below, length);
  }
}
