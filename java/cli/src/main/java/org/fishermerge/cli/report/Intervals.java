package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.torch.Accuracy;
import org.jspecify.annotations.Nullable;

/**
 * 95 % intervals of means and differences of accuracies, from those of the accuracies themselves:
 * distances from estimate to limit add up as squares (Newcombe 1998, method 10; Zou and Donner
 * 2008). Measures are taken as independent. Those of two models on the same examples are not, and
 * agree more than that, so that the interval of their difference is wider than it need be.
 */
public final class Intervals {
  private Intervals() {}

  /** The measure of an evaluation. */
  public static Measure measure(Accuracy accuracy) {
    Accuracy.Interval interval = accuracy.interval();
    return new Measure(
        accuracy.accuracy(),
        new Interval(accuracy.accuracy(), interval.low(), interval.high()),
        accuracy.correct(),
        accuracy.examples(),
        accuracy.loss());
  }

  /** The mean of measures, where there is any. */
  static @Nullable Measure mean(List<Measure> measures) {
    if (measures.isEmpty()) {
      return null;
    }
    double n = measures.size();
    double accuracy = measures.stream().mapToDouble(Measure::accuracy).sum() / n;
    double down = 0;
    double up = 0;
    double loss = 0;
    boolean intervals = true;
    boolean losses = true;
    for (Measure each : measures) {
      Interval interval = each.interval();
      Double ofLoss = each.loss();
      if (interval == null) {
        intervals = false;
      } else {
        down += Math.pow(each.accuracy() - interval.low(), 2);
        up += Math.pow(interval.high() - each.accuracy(), 2);
      }
      if (ofLoss == null) {
        losses = false;
      } else {
        loss += ofLoss / n;
      }
    }
    return new Measure(
        accuracy,
        intervals
            ? new Interval(accuracy, accuracy - Math.sqrt(down) / n, accuracy + Math.sqrt(up) / n)
            : null,
        null,
        null,
        losses ? loss : null);
  }

  /** {@code a - b}; null where an interval is not known. */
  static @Nullable Interval difference(@Nullable Measure a, @Nullable Measure b) {
    if (a == null || b == null) {
      return null;
    }
    Interval of = a.interval();
    Interval from = b.interval();
    if (of == null || from == null) {
      return null;
    }
    double value = a.accuracy() - b.accuracy();
    return new Interval(
        value,
        value - Math.hypot(a.accuracy() - of.low(), from.high() - b.accuracy()),
        value + Math.hypot(of.high() - a.accuracy(), b.accuracy() - from.low()));
  }

  /** Adds means, and differences to the average where there is one. */
  public static Accuracies complete(List<String> tasks, List<Row> rows) {
    Row average = rows.stream().filter(row -> row.role() == Role.AVERAGE).findFirst().orElse(null);
    Measure averageMean = average == null ? null : mean(average.measures());
    List<Row> complete = new ArrayList<>();
    for (Row row : rows) {
      Measure mean = mean(row.measures());
      List<Interval> differences = new ArrayList<>();
      if (average != null && !row.equals(average)) {
        for (int t = 0; t < Math.min(row.measures().size(), average.measures().size()); t++) {
          Interval difference = difference(row.measures().get(t), average.measures().get(t));
          if (difference != null) {
            differences.add(difference);
          }
        }
      }
      boolean all = average != null && differences.size() == tasks.size();
      complete.add(
          new Row(
              row.name(),
              row.role(),
              row.measures(),
              mean,
              all ? differences : List.of(),
              all ? difference(mean, averageMean) : null));
    }
    return new Accuracies(tasks, complete);
  }

  /** A row of which nothing is derived yet. */
  public static Row row(String name, Role role, List<Measure> measures) {
    return new Row(name, role, measures, null, null, null);
  }
}
