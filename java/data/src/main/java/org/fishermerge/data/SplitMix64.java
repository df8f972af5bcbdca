package org.fishermerge.data;

/** The random numbers that {@link Selection} documents. */
final class SplitMix64 {
  private long state;

  SplitMix64(long seed) {
    state = seed;
  }

  private long next() {
    state += 0x9e3779b97f4a7c15L;
    long z = state;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }

  /** Brings a random choice of {@code count} values to the front, in random order. */
  void shuffle(long[] values, int count) {
    for (int i = 0; i < count; i++) {
      int j = i + (int) Math.unsignedMultiplyHigh(next(), values.length - i);
      long taken = values[j];
      values[j] = values[i];
      values[i] = taken;
    }
  }
}
