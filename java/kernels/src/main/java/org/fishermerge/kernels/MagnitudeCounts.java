package org.fishermerge.kernels;

/**
 * Finds a magnitude by its rank among the differences of any number of tensors, exactly. {@link
 * Kernels#countMagnitudes} is shown all of them {@link #ROUNDS} times, in any order, each time
 * followed by {@link #endRound}: first they are counted by the upper half of their bits, which are
 * in the order of magnitudes, then those within the half that has the rank by their lower half.
 * What is found does not depend on order and threads. For one thread.
 */
public final class MagnitudeCounts {
  /** How often the differences are shown. */
  public static final int ROUNDS = 2;

  /** Counters of a round. */
  static final int COUNTERS = 1 << 16;

  private final long rank;
  private long[] counts = new long[COUNTERS];
  private int round;
  private long below;
  private int upper;
  private int lower;

  /**
   * Nothing is counted yet.
   *
   * @param rank of the magnitude that is looked for, by rising magnitude; the least has 0
   */
  public MagnitudeCounts(long rank) {
    if (rank < 0) {
      throw new IllegalArgumentException("rank " + rank);
    }
    this.rank = rank;
  }

  /** The counter of a magnitude in this round, or -1 for none. */
  int counter(float magnitude) {
    int bits = Float.floatToRawIntBits(magnitude);
    if (round == 0) {
      return bits >>> 16;
    }
    return bits >>> 16 == upper ? bits & 0xFFFF : -1;
  }

  void add(long[] more) {
    for (int i = 0; i < COUNTERS; i++) {
      counts[i] += more[i];
    }
  }

  /** All differences have been shown once more. */
  public void endRound() {
    if (round == ROUNDS) {
      throw new IllegalStateException("all rounds are over");
    }
    int found = 0;
    // The last counter is where the rank is if there are not so many numbers.
    while (found < COUNTERS - 1 && below + counts[found] <= rank) {
      below += counts[found++];
    }
    if (round == 0) {
      upper = found;
    } else {
      lower = found;
    }
    counts = new long[COUNTERS];
    round++;
  }

  /**
   * The magnitude of the rank; infinite if fewer numbers were shown, as where some are not numbers.
   *
   * @throws IllegalStateException before the last round is over
   */
  public float magnitude() {
    if (round < ROUNDS) {
      throw new IllegalStateException("round " + round + " of " + ROUNDS);
    }
    float found = Float.intBitsToFloat(upper << 16 | lower);
    return found < Float.POSITIVE_INFINITY ? found : Float.POSITIVE_INFINITY;
  }
}
