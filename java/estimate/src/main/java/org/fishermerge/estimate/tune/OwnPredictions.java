package org.fishermerge.estimate.tune;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.estimate.ModelOnData;
import org.fishermerge.torch.Divergence;
import org.fishermerge.torch.ForwardPass;

/**
 * What a model itself predicts for examples of its task.
 *
 * @param rows of the data
 * @param probabilities of the classes, one array for each row
 */
public record OwnPredictions(long[] rows, List<double[]> probabilities) {
  /** Checks that there is one for each row. */
  public OwnPredictions {
    probabilities = List.copyOf(probabilities);
    if (rows.length != probabilities.size()) {
      throw new IllegalArgumentException(rows.length + " rows, " + probabilities.size());
    }
  }

  /**
   * Runs a model on its own examples.
   *
   * @param rows that can be read
   * @throws InputException if a logit is not finite
   */
  public static OwnPredictions of(ModelOnData model, long[] rows, int batchSize) {
    List<double[]> all = new ArrayList<>();
    for (int first = 0; first < rows.length; first += batchSize) {
      int count = Math.min(batchSize, rows.length - first);
      long[] some = Arrays.copyOfRange(rows, first, first + count);
      try (ForwardPass pass = model.forward(some, ForwardPass.Wanted.LOGITS)) {
        all.addAll(Divergence.predictions(pass, b -> some[Math.toIntExact(b)]));
      }
    }
    return new OwnPredictions(rows, all);
  }

  /** How many examples there are. */
  public int examples() {
    return rows.length;
  }

  /** Those at even places, or those at odd ones. */
  public OwnPredictions half(boolean odd) {
    return at(IntStream.iterate(odd ? 1 : 0, i -> i < rows.length, i -> i + 2).toArray());
  }

  /** Some of them, in the order given. */
  OwnPredictions at(int[] places) {
    return new OwnPredictions(
        Arrays.stream(places).mapToLong(place -> rows[place]).toArray(),
        Arrays.stream(places).mapToObj(probabilities::get).toList());
  }

  /** The probabilities end to end. */
  double[] flat() {
    return probabilities.stream().flatMapToDouble(Arrays::stream).toArray();
  }
}
