package org.fishermerge.torch.objective;

/**
 * A stream of random numbers that depends on the seed and the example alone, so that batch size,
 * threads and order of work cannot change what an example draws. SplitMix64 (Steele, Lea and Flood,
 * 2014), started at a hash of both.
 */
public final class ExampleRandom {
  private static final long GOLDEN_GAMMA = 0x9e3779b97f4a7c15L;
  private static final double UNIT = 0x1p-53;

  private long state;

  /** The stream of one example under one seed. */
  public ExampleRandom(long seed, long example) {
    state = mix(seed) ^ mix(example * GOLDEN_GAMMA + 1);
  }

  /** Uniform over all longs. */
  public long nextLong() {
    state += GOLDEN_GAMMA;
    return mix(state);
  }

  /** Uniform in [0, 1). */
  public double nextDouble() {
    return (nextLong() >>> 11) * UNIT;
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }
}
