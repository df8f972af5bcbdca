package org.fishermerge.estimate.tune;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.torch.Divergence;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.ForwardPass.Wanted;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.statistic.GradientSum;

/**
 * How far a merged model's predictions are from those of the models that it was merged from, each
 * on examples of its own task: the mean over tasks of the mean over examples of KL(p_i ||
 * p_merged), in nats. No labels are needed.
 *
 * <p>The tasks share one backbone, whose weights are the merged model's at the time of a
 * measurement. Half of each task's examples choose among merges, the other half confirms the
 * choice. Not thread-safe.
 */
public final class DivergenceMeter {
  /** Which half of the examples. */
  public enum Half {
    /** Those that merges are chosen by. */
    CHOOSING,
    /** Those that no choice was made by. */
    CONFIRMING
  }

  /**
   * A task under the merged model.
   *
   * @param merged its head and examples, on the shared backbone
   * @param own what the task's own model predicts
   */
  public record Task(ClassifierOnData merged, OwnPredictions own) {}

  private record Halves(
      ClassifierOnData merged, OwnPredictions choosing, OwnPredictions confirming) {
    OwnPredictions half(Half half) {
      return half == Half.CHOOSING ? choosing : confirming;
    }
  }

  private final List<Halves> tasks;
  private final int batchSize;

  /**
   * Prepares measurements.
   *
   * @param tasks at least one, each with two examples or more, on one backbone
   * @param batchSize examples of a forward pass, at most
   */
  public DivergenceMeter(List<Task> tasks, int batchSize) {
    this.batchSize = batchSize;
    this.tasks =
        tasks.stream()
            .map(task -> new Halves(task.merged, task.own.half(false), task.own.half(true)))
            .toList();
    for (Halves task : this.tasks) {
      if (task.confirming.examples() == 0 || task.merged.backbone() != backbone()) {
        throw new IllegalArgumentException("tasks of two examples or more on one backbone");
      }
    }
  }

  /** The network whose weights are measured. */
  public Network<?> backbone() {
    return tasks.getFirst().merged.backbone();
  }

  /** Each task's mean divergence; infinite where the merged model's logits are not finite. */
  public List<Double> divergences(Half half) {
    List<Double> means = new ArrayList<>();
    for (Halves task : tasks) {
      OwnPredictions own = task.half(half);
      double sum = 0;
      for (int first = 0; first < own.examples(); first += batchSize) {
        OwnPredictions batch = batch(own, first);
        try (ForwardPass pass = task.merged.forward(batch.rows(), Wanted.LOGITS)) {
          for (double divergence : Divergence.of(pass, batch.flat())) {
            sum += divergence;
          }
        }
      }
      means.add(sum / own.examples());
    }
    return means;
  }

  private OwnPredictions batch(OwnPredictions own, int first) {
    return own.at(IntStream.range(first, Math.min(own.examples(), first + batchSize)).toArray());
  }

  /** The mean over tasks. */
  public static double mean(List<Double> divergences) {
    return divergences.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  /**
   * Draws a random sample of the choosing half: places of examples, [tasks][examples].
   *
   * @param examples of each task; all of a task that has fewer
   */
  public int[][] sample(int examples, SplittableRandom random) {
    return tasks.stream()
        .map(task -> sample(task.choosing.examples(), examples, random))
        .toArray(int[][]::new);
  }

  /**
   * The mean divergence of a {@link #sample}, and its gradient by the weights.
   *
   * @param sum receives the gradient, in addition to what is there
   */
  public double gradient(int[][] sample, GradientSum sum) {
    double mean = 0;
    for (int t = 0; t < tasks.size(); t++) {
      Halves task = tasks.get(t);
      OwnPredictions sampled = task.choosing.at(sample[t]);
      double weight = 1.0 / sampled.examples() / tasks.size();
      for (int first = 0; first < sampled.examples(); first += batchSize) {
        OwnPredictions batch = batch(sampled, first);
        try (ForwardPass pass = task.merged.forward(batch.rows(), Wanted.BACKWARD)) {
          for (double divergence : Divergence.pullBack(pass, batch.flat(), weight, sum)) {
            mean += divergence * weight;
          }
        }
      }
    }
    return mean;
  }

  /**
   * So many of the places below {@code count}, drawn without replacement; all if there are fewer.
   */
  private static int[] sample(int count, int wanted, SplittableRandom random) {
    int[] places = IntStream.range(0, count).toArray();
    int taken = Math.min(count, wanted);
    for (int i = 0; i < taken; i++) {
      int other = random.nextInt(i, count);
      int place = places[other];
      places[other] = places[i];
      places[i] = place;
    }
    return Arrays.copyOf(places, taken);
  }
}
