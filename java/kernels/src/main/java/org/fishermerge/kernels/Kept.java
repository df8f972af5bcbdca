package org.fishermerge.kernels;

/**
 * Which elements of a task vector are kept. With m the magnitude of the difference at place k of
 * its tensor, those are kept for which
 *
 * <ul>
 *   <li>m is above {@code least}, or equal to it and {@code leastFrom <= k < leastUntil};
 *   <li>m is below {@code most}, or equal to it and {@code k < mostUntil};
 *   <li>a hash of seed and k is below {@code share}, in units of 2^-32: each element is kept with
 *       that probability, independently of the others.
 * </ul>
 *
 * A difference that is not finite is always kept, so that it is seen.
 *
 * @param least not negative; 0 keeps all
 * @param most not below {@code least}; infinity keeps all
 * @param share 2^32 or more keeps all
 */
public record Kept(
    float least,
    long leastFrom,
    long leastUntil,
    float most,
    long mostUntil,
    long seed,
    long share) {
  /** Of a share. */
  static final long ONE = 1L << 32;

  /** All elements. */
  public static final Kept ALL =
      new Kept(0, 0, Long.MAX_VALUE, Float.POSITIVE_INFINITY, Long.MAX_VALUE, 0, ONE);

  /** Checks the bounds. */
  public Kept {
    if (!(least >= 0 && most >= least && share >= 0)) {
      throw new IllegalArgumentException(
          "0 <= least <= most and 0 <= share are needed, not %s, %s and %d"
              .formatted(least, most, share));
    }
  }

  /** Those that come before an element in the order of falling magnitude. */
  public static Kept before(RankedMagnitude first) {
    return new Kept(
        first.magnitude(), 0, first.place(), Float.POSITIVE_INFINITY, Long.MAX_VALUE, 0, ONE);
  }

  /** An element and those that come after it in the order of rising magnitude. */
  public static Kept from(RankedMagnitude first) {
    return new Kept(
        first.magnitude(),
        first.place(),
        Long.MAX_VALUE,
        Float.POSITIVE_INFINITY,
        Long.MAX_VALUE,
        0,
        ONE);
  }

  /** Of these, those that come before an element in the order of rising magnitude. */
  public Kept until(RankedMagnitude end) {
    return new Kept(least, leastFrom, leastUntil, end.magnitude(), end.place(), seed, share);
  }

  /** Each element with a probability, from 0 to 1. */
  public static Kept drawn(double probability, long seed) {
    return new Kept(
        0,
        0,
        Long.MAX_VALUE,
        Float.POSITIVE_INFINITY,
        Long.MAX_VALUE,
        seed,
        Math.round(probability * ONE));
  }

  /** The hash of an element: lowbias32 by C. Wellons, with half of the seed between its steps. */
  static int hash(long place, long seed) {
    int x = (int) place + (int) seed;
    x ^= x >>> 16;
    x *= 0x7FEB352D;
    x ^= x >>> 15;
    x ^= (int) (seed >>> 32);
    x *= 0x846CA68B;
    return x ^ (x >>> 16);
  }

  /** Whether an element is kept. */
  boolean keeps(float difference, long place) {
    float m = Math.abs(difference);
    if (!Float.isFinite(m)) {
      return true;
    }
    if (m < least || (m == least && !(leastFrom <= place && place < leastUntil))) {
      return false;
    }
    if (m > most || (m == most && place >= mostUntil)) {
      return false;
    }
    return share >= ONE || Integer.toUnsignedLong(hash(place, seed)) < share;
  }
}
