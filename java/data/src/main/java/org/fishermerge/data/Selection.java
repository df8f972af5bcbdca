package org.fishermerge.data;

/**
 * Which examples of a data set are taken, and in what order. A {@code count} above the size of the
 * data set takes all of it; {@link #count(long)} says how many that are.
 */
public sealed interface Selection {
  /** How many examples are wanted; {@link Long#MAX_VALUE} for all. */
  long count();

  /** The indices taken from a data set of {@code size} examples, in order. */
  long[] indices(long size);

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
    public long[] indices(long size) {
      long[] indices = new long[Math.toIntExact(count(size))];
      for (int i = 0; i < indices.length; i++) {
        indices[i] = i;
      }
      return indices;
    }
  }

  /**
   * The first {@code count} of a random permutation that is fixed by {@code seed} alone, on every
   * platform and release: for i = 0, 1, ... element i is swapped with element i + floor(r (size -
   * i) / 2^64), where r are the successive 64-bit outputs of SplitMix64 (Steele, Lea and Flood
   * 2014, the variant with Stafford's mix 13) started at state {@code seed}. So a smaller {@code
   * count} with the same seed is a prefix of a larger one.
   */
  record Shuffled(long count, long seed) implements Selection {
    public Shuffled {
      requirePositive(count);
    }

    @Override
    public long[] indices(long size) {
      int[] permutation = new int[Math.toIntExact(size)];
      for (int i = 0; i < permutation.length; i++) {
        permutation[i] = i;
      }
      long[] indices = new long[Math.toIntExact(count(size))];
      long state = seed;
      for (int i = 0; i < indices.length; i++) {
        state += 0x9e3779b97f4a7c15L;
        long r = mix(state);
        int j = i + (int) Math.unsignedMultiplyHigh(r, size - i);
        indices[i] = permutation[j];
        permutation[j] = permutation[i];
      }
      return indices;
    }

    private static long mix(long z) {
      z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
      z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
      return z ^ (z >>> 31);
    }
  }

  private static void requirePositive(long count) {
    if (count <= 0) {
      throw new IllegalArgumentException("a selection of " + count + " examples");
    }
  }
}
