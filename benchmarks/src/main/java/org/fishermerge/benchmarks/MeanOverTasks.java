package org.fishermerge.benchmarks;

import java.util.List;
import java.util.stream.IntStream;

/**
 * A mean over tasks, each with examples of its own, and half the width of its 95 % interval:
 * normal, of independent examples, for given tasks.
 */
record MeanOverTasks(double mean, double margin) {
  private static final double NORMAL_95 = 1.96;

  /** Of values of each example, task by task. */
  static MeanOverTasks of(List<double[]> tasks) {
    double mean = 0;
    double variance = 0;
    for (double[] values : tasks) {
      double sum = 0;
      double squares = 0;
      for (double value : values) {
        sum += value;
        squares += value * value;
      }
      double ofTask = sum / values.length;
      mean += ofTask / tasks.size();
      variance +=
          (squares / values.length - ofTask * ofTask) / values.length / tasks.size() / tasks.size();
    }
    return new MeanOverTasks(mean, NORMAL_95 * Math.sqrt(variance));
  }

  /** Of the differences between two models on the same examples. */
  static MeanOverTasks ofDifferences(List<double[]> of, List<double[]> from) {
    return of(
        IntStream.range(0, of.size())
            .mapToObj(t -> {
              double[] differences = of.get(t).clone();
              for (int i = 0; i < differences.length; i++) {
                differences[i] -= from.get(t)[i];
              }
              return differences;
            })
            .toList());
  }
}
