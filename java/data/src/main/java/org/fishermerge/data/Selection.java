package org.fishermerge.data;

import java.util.Arrays;
import java.util.TreeMap;
import java.util.stream.LongStream;

/**
 * Which examples of a data set are taken, and in what order. A {@code count} above the size of the
 * data set takes all of it; {@link #count(long)} says how many that are.
 */
public sealed interface Selection {
  /** How many examples are wanted; {@link Long#MAX_VALUE} for all. */
  long count();

  /**
   * The rows taken from a data set, in order.
   *
   * @throws org.fishermerge.checkpoint.InputException if the selection needs labels and the data
   *     set has none, or they cannot be read
   */
  long[] rows(Examples dataset);

  /** How many examples are taken from a data set of {@code size}. */
  default long count(long size) {
    return Math.min(count(), size);
  }

  /** The first {@code count} examples in stored order. */
  record First(long count) implements Selection {
    public First {
      requirePositive(count);
    }

    @Override
    public long[] rows(Examples dataset) {
      return rows(dataset.size());
    }

    long[] rows(long size) {
      return LongStream.range(0, count(size)).toArray();
    }
  }

  /**
   * The first {@code count} of a random permutation that is fixed by {@code seed} alone, on every
   * platform and release: for i = 0, 1, ... row i is swapped with row i + floor(r (size - i) /
   * 2^64), where r are the successive 64-bit outputs of SplitMix64 (Steele, Lea and Flood 2014, the
   * variant with Stafford's mix 13) started at state {@code seed}. So a smaller {@code count} with
   * the same seed is a prefix of a larger one.
   */
  record Shuffled(long count, long seed) implements Selection {
    public Shuffled {
      requirePositive(count);
    }

    @Override
    public long[] rows(Examples dataset) {
      return rows(dataset.size());
    }

    long[] rows(long size) {
      long[] rows = LongStream.range(0, size).toArray();
      int taken = Math.toIntExact(count(size));
      new SplitMix64(seed).shuffle(rows, taken);
      return Arrays.copyOf(rows, taken);
    }
  }

  /**
   * As many examples of each class as of any other, in random order; those without a label are left
   * out. A class with fewer than its share gives all it has, and the other classes share the rest;
   * what does not divide goes to a random choice of those others, one example each.
   *
   * <p>A mean over such a sample gives every class the same weight. Where classes are of unequal
   * size it is no estimate of the mean over the data set, which a {@link Shuffled} sample gives.
   *
   * <p>Fixed by {@code seed} and the labels, on every platform and release. One stream of outputs,
   * used up as {@link Shuffled} does, shuffles first the classes that have more than their share,
   * in rising order of their label, so that the first of them give one more; then the rows of each
   * class, in rising order of the label and from stored order, as many as the class gives; and last
   * all that were chosen, laid end to end.
   */
  record Stratified(long count, long seed) implements Selection {
    public Stratified {
      requirePositive(count);
    }

    @Override
    public long[] rows(Examples dataset) {
      return rows(dataset.labels());
    }

    long[] rows(long[] labels) {
      long[][] classes = rowsByClass(labels);
      long labelled = Arrays.stream(classes).mapToLong(rows -> rows.length).sum();
      SplitMix64 random = new SplitMix64(seed);
      int[] quotas = quotas(classes, Math.toIntExact(count(labelled)), random);
      LongStream.Builder chosen = LongStream.builder();
      for (int c = 0; c < classes.length; c++) {
        random.shuffle(classes[c], quotas[c]);
        Arrays.stream(classes[c], 0, quotas[c]).forEach(chosen);
      }
      long[] mixed = chosen.build().toArray();
      random.shuffle(mixed, mixed.length);
      return mixed;
    }

    private static long[][] rowsByClass(long[] labels) {
      TreeMap<Long, LongStream.Builder> byLabel = new TreeMap<>();
      for (int row = 0; row < labels.length; row++) {
        if (labels[row] != Examples.NO_LABEL) {
          byLabel.computeIfAbsent(labels[row], label -> LongStream.builder()).add(row);
        }
      }
      return byLabel.values().stream().map(rows -> rows.build().toArray()).toArray(long[][]::new);
    }

    private static int[] quotas(long[][] classes, int taken, SplitMix64 random) {
      int share = share(classes, taken);
      int[] quotas = Arrays.stream(classes).mapToInt(c -> Math.min(c.length, share)).toArray();
      long[] larger =
          LongStream.range(0, classes.length)
              .filter(c -> classes[(int) c].length > share)
              .toArray();
      int rest = taken - Arrays.stream(quotas).sum();
      random.shuffle(larger, rest);
      for (int i = 0; i < rest; i++) {
        quotas[(int) larger[i]]++;
      }
      return quotas;
    }

    /** The most that every class may give, as far as it has them, without exceeding the total. */
    private static int share(long[][] classes, int total) {
      int[] sizes = Arrays.stream(classes).mapToInt(c -> c.length).sorted().toArray();
      int left = total;
      for (int i = 0; i < sizes.length; i++) {
        int share = left / (sizes.length - i);
        if (share < sizes[i]) {
          return share;
        }
        left -= sizes[i];
      }
      return sizes[sizes.length - 1];
    }
  }

  private static void requirePositive(long count) {
    if (count <= 0) {
      throw new IllegalArgumentException("a selection of " + count + " examples");
    }
  }
}
