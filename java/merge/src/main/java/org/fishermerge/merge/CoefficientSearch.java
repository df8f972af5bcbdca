package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.DoubleStream;

/**
 * Looks for the coefficients with which a merge does best. Only their ratios matter, so all that
 * are tried sum to 1. Equal coefficients come first. Two models: a grid over their shares. More:
 * half of the tries are uniform over all shares (Dirichlet with every parameter 1), then each
 * starts from the best found so far and goes a step towards such a random point, ever shorter
 * steps.
 */
public final class CoefficientSearch {
  private static final double FIRST_STEP = 0.5;
  private static final double LAST_STEP = 0.05;

  private final int models;
  private final int tries;
  private final SplittableRandom random;
  private final List<Try> done = new ArrayList<>();

  /** How well a merge does: the higher accuracy is better, between equal ones the lower loss. */
  public record Score(double accuracy, double loss) implements Comparable<Score> {
    /** The better score is the greater one. */
    @Override
    public int compareTo(Score other) {
      int byAccuracy = Double.compare(accuracy, other.accuracy);
      return byAccuracy != 0 ? byAccuracy : Double.compare(other.loss, loss);
    }
  }

  /** A merge that was tried: coefficients in the models' order, and how well it did. */
  public record Try(List<Double> coefficients, Score score) {
    /** Copies the coefficients. */
    public Try {
      coefficients = List.copyOf(coefficients);
    }
  }

  /** Merges and measures. */
  @FunctionalInterface
  public interface Objective {
    /** How well the merge with these coefficients does; they sum to 1. */
    Score score(List<Double> coefficients);
  }

  private CoefficientSearch(int models, int tries, long seed) {
    this.models = models;
    this.tries = tries;
    this.random = new SplittableRandom(seed);
  }

  /**
   * Tries coefficients, one after the other.
   *
   * @param models at least two
   * @param tries at least one
   * @param seed of the random points: the same one tries the same, given the same scores
   * @param listener told of each try when it is done
   * @return the best try; the earliest of equals
   */
  public static Try run(
      int models, int tries, long seed, Objective objective, Consumer<Try> listener) {
    if (models < 2 || tries < 1) {
      throw new IllegalArgumentException(models + " models, " + tries + " tries");
    }
    CoefficientSearch search = new CoefficientSearch(models, tries, seed);
    while (search.done.size() < tries) {
      List<Double> next = search.next();
      Try tried = new Try(next, objective.score(next));
      search.done.add(tried);
      listener.accept(tried);
    }
    return search.best();
  }

  private Try best() {
    return done.stream().reduce((a, b) -> b.score.compareTo(a.score) > 0 ? b : a).orElseThrow();
  }

  private List<Double> next() {
    int index = done.size();
    if (index == 0) {
      double[] equal = new double[models];
      Arrays.fill(equal, 1.0 / models);
      return list(equal);
    }
    if (models == 2) {
      double share = gridShare(index - 1);
      return List.of(share, 1 - share);
    }
    double[] point = dirichlet();
    int exploring = tries / 2;
    if (index > exploring) {
      double progress = (index - exploring - 1) / Math.max(1.0, tries - exploring - 2.0);
      double step = FIRST_STEP * Math.pow(LAST_STEP / FIRST_STEP, progress);
      List<Double> best = best().coefficients;
      for (int i = 0; i < models; i++) {
        point[i] = (1 - step) * best.get(i) + step * point[i];
      }
    }
    return list(point);
  }

  /** The grid without its middle, which came first; an odd number has one point more below it. */
  private double gridShare(int index) {
    int points = tries - 1;
    int below = (points + 1) / 2;
    return index < below ? 0.5 * index / below : 0.5 + 0.5 * (index - below + 1) / (points - below);
  }

  /** Uniform over all non-negative coefficients with sum 1: exponential variates over their sum. */
  private double[] dirichlet() {
    double[] point = new double[models];
    double sum = 0;
    for (int i = 0; i < models; i++) {
      point[i] = -Math.log1p(-random.nextDouble());
      sum += point[i];
    }
    for (int i = 0; i < models; i++) {
      point[i] /= sum;
    }
    return point;
  }

  private static List<Double> list(double[] values) {
    return DoubleStream.of(values).boxed().toList();
  }
}
