package org.fishermerge.torch.objective;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The examples of a batch, as far as an objective asks for them.
 *
 * @param seed of everything that is drawn
 * @param positions the place of each example in the whole run [B]; with the seed it decides what is
 *     drawn for the example, whatever batch or part of the run it is in
 * @param labels the examples' own labels [B]; null where there are none
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
public record BatchExamples(long seed, long[] positions, long @Nullable [] labels) {
  /** Examples that follow each other in the run. */
  public static BatchExamples from(long seed, long first, int count, long @Nullable [] labels) {
    long[] positions = new long[count];
    Arrays.setAll(positions, b -> first + b);
    return new BatchExamples(seed, positions, labels);
  }

  int count() {
    return positions.length;
  }

  /** The stream of random numbers of one of them, from its beginning. */
  ExampleRandom random(int index) {
    return new ExampleRandom(seed, positions[index]);
  }

  /** Some of them, in that order. */
  BatchExamples select(int[] indices) {
    long[] own = labels;
    return new BatchExamples(
        seed,
        Arrays.stream(indices).mapToLong(b -> positions[b]).toArray(),
        own == null ? null : Arrays.stream(indices).mapToLong(b -> own[b]).toArray());
  }
}
