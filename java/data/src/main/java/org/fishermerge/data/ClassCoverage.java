package org.fishermerge.data;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * How many of a data set's classes some chosen examples hold, against a random choice of as many:
 * the first rows of data that is stored class by class hold few.
 *
 * @param held classes that the chosen examples hold
 * @param classes classes of the data set
 * @param missedAtRandom how many classes a random choice misses on average
 */
public record ClassCoverage(int held, int classes, double missedAtRandom) {
  private static final double UNLIKELY = 0.001;

  /**
   * Counts.
   *
   * @param labels of the whole data set
   * @param rows the chosen examples, each once
   */
  public static ClassCoverage of(long[] labels, long[] rows) {
    Map<Long, Long> sizes =
        Arrays.stream(labels)
            .boxed()
            .collect(Collectors.groupingBy(Function.identity(), Collectors.counting()));
    Set<Long> held = new HashSet<>();
    for (long row : rows) {
      held.add(labels[Math.toIntExact(row)]);
    }
    double missed = 0;
    for (long size : sizes.values()) {
      missed += missing(labels.length, size, rows.length);
    }
    return new ClassCoverage(held.size(), sizes.size(), missed);
  }

  /** The probability that a random choice holds none of a class's examples. */
  private static double missing(long examples, long ofClass, long chosen) {
    double probability = 1;
    for (long i = 0; i < ofClass && probability > 0; i++) {
      probability *= Math.max(0, (double) (examples - chosen - i) / (examples - i));
    }
    return probability;
  }

  /**
   * Whether a random choice would almost certainly hold more classes: it misses as many as these
   * examples do with a probability below 0.001, by Chernoff's bound. The bound holds here because a
   * class that is missed leaves more room for the others.
   */
  public boolean poor() {
    int missed = classes - held;
    return missed > missedAtRandom
        && missed * Math.log(missed / missedAtRandom) - missed + missedAtRandom
            > -Math.log(UNLIKELY);
  }
}
