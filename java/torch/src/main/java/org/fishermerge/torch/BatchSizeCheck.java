package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Tests the promise that a Fisher information does not depend on how examples are cut into batches:
 * estimates that of some examples as one batch and as two. A model breaks it whose layers mix the
 * examples of a batch, as batch normalisation by the batch's own mean does, or draw at random, as
 * dropout does.
 */
public final class BatchSizeCheck {
  // Far above the rounding of sums in another order.
  private static final double TOLERANCE = 1e-3;

  // Some gradients are exactly zero, like that of a key bias; what is found there is rounding. So
  // a tensor's largest value counts as this share of the largest of all at least.
  private static final double ROUNDING = 1e-9;

  private BatchSizeCheck() {}

  /** Examples that can be run in any batches. */
  public interface Examples {
    /** {@code count} examples from {@code first} on as one batch. */
    ForwardPass.Source batch(int first, int count);
  }

  /**
   * Where two estimates differ most.
   *
   * @param tensor canonical name
   * @param relative the largest difference in it, relative to its largest value
   */
  public record Deviation(String tensor, double relative) {}

  /** The batch size that {@code count} examples in one batch are compared with. */
  public static int smaller(int count) {
    return (count + 1) / 2;
  }

  /**
   * Compares one batch of {@code count} examples with batches of {@link #smaller}. Takes the memory
   * of two estimators while it runs.
   *
   * @param estimators makes new estimators of the same settings, which are closed here
   * @param count at least 2
   * @param trueLabels the examples' own labels [count]; may be null unless the objective needs them
   * @return the largest deviation
   * @throws InputException if that is above 0.001
   */
  public static Deviation run(
      Supplier<FisherEstimator> estimators,
      Examples examples,
      int count,
      long @Nullable [] trueLabels) {
    if (count < 2) {
      throw new IllegalArgumentException("a check of batch sizes with " + count + " examples");
    }
    Deviation deviation;
    try (FisherEstimator whole = estimators.get();
        FisherEstimator parts = estimators.get()) {
      add(whole, examples, 0, count, trueLabels);
      for (int first = 0; first < count; first += smaller(count)) {
        add(parts, examples, first, Math.min(smaller(count), count - first), trueLabels);
      }
      deviation = largest(whole.finish(), parts.finish());
    }
    if (deviation.relative() > TOLERANCE) {
      throw new InputException(
          String.format(
              Locale.ROOT,
              "the statistic of %d examples is another in batches of %d than in one batch:"
                  + " values of %s differ by %.2g of its largest; the model mixes the examples of"
                  + " a batch or draws at random (batch normalisation, dropout): switch that off,"
                  + " or take a batch size of 1 and no check",
              count,
              smaller(count),
              deviation.tensor(),
              deviation.relative()));
    }
    return deviation;
  }

  private static void add(
      FisherEstimator estimator,
      Examples examples,
      int first,
      int count,
      long @Nullable [] trueLabels) {
    estimator.add(
        examples.batch(first, count),
        trueLabels == null ? null : Arrays.copyOfRange(trueLabels, first, first + count));
  }

  private static Deviation largest(
      Map<String, MemorySegment> whole, Map<String, MemorySegment> parts) {
    double floor =
        ROUNDING * whole.values().stream().mapToDouble(BatchSizeCheck::largest).max().orElse(0);
    Deviation worst = new Deviation("", 0);
    for (Map.Entry<String, MemorySegment> tensor : whole.entrySet()) {
      double difference =
          difference(tensor.getValue(), Objects.requireNonNull(parts.get(tensor.getKey())));
      double relative =
          difference == 0 ? 0 : difference / Math.max(floor, largest(tensor.getValue()));
      if (Double.isNaN(relative)) {
        relative = Double.POSITIVE_INFINITY;
      }
      if (worst.tensor().isEmpty() || relative > worst.relative()) {
        worst = new Deviation(tensor.getKey(), relative);
      }
    }
    return worst;
  }

  private static double largest(MemorySegment values) {
    double largest = 0;
    for (long j = 0; j < values.byteSize() / Float.BYTES; j++) {
      largest = Math.max(largest, Math.abs(values.getAtIndex(ValueLayout.JAVA_FLOAT, j)));
    }
    return largest;
  }

  private static double difference(MemorySegment a, MemorySegment b) {
    double largest = 0;
    for (long j = 0; j < a.byteSize() / Float.BYTES; j++) {
      double left = a.getAtIndex(ValueLayout.JAVA_FLOAT, j);
      double right = b.getAtIndex(ValueLayout.JAVA_FLOAT, j);
      largest = Math.max(largest, Math.abs(left - right));
    }
    return largest;
  }
}
