package org.fishermerge.estimate.tune;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import org.fishermerge.estimate.tune.DivergenceMeter.Half;
import org.fishermerge.torch.WeightBlend;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.statistic.GradientSum;

/**
 * Finds the coefficients of a {@link WeightBlend} with which the measured divergence is least, by
 * Adam (Kingma and Ba 2015) on samples of the choosing half. Parameters of one group share their
 * coefficients. Every few steps the confirming half is measured; the best coefficients found there
 * are kept, and the search ends when they have not improved for long.
 */
public final class BlendTuning {
  private static final double FIRST_MOMENT = 0.9;
  private static final double SECOND_MOMENT = 0.999;
  private static final double EPSILON = 1e-8;

  /** Measurements without improvement after which the search ends. */
  private static final int PATIENCE = 4;

  /**
   * How to search.
   *
   * @param steps most steps
   * @param examples of each task in a step
   * @param rate of the steps, about how far a coefficient goes in one; falls to zero like a cosine
   * @param every steps between measurements of the confirming half
   * @param seed of the samples
   */
  public record Settings(int steps, int examples, double rate, int every, long seed) {
    /** Most steps, unless something else is asked for. */
    public static final int USUAL_STEPS = 150;

    /** Examples of each task in a step, unless something else is asked for. */
    public static final int USUAL_EXAMPLES = 48;

    /** A merge is at coefficients of about 1. */
    private static final double USUAL_RATE = 0.03;

    private static final int USUALLY_EVERY = 10;

    /** 150 steps of 48 examples. */
    public static Settings usual(long seed) {
      return new Settings(USUAL_STEPS, USUAL_EXAMPLES, USUAL_RATE, USUALLY_EVERY, seed);
    }

    /** The same with so many steps, of so many examples. */
    public Settings with(int newSteps, int newExamples) {
      return new Settings(newSteps, newExamples, rate, every, seed);
    }
  }

  /** Told of the search; for the thread that it runs on. */
  @FunctionalInterface
  public interface Listener {
    /**
     * A measurement.
     *
     * @param step steps taken
     * @param sampled mean divergence of the samples since the last measurement; NaN at step 0
     * @param confirming mean divergence of the confirming half
     */
    void measured(int step, double sampled, double confirming);
  }

  /**
   * What was found.
   *
   * @param coefficients [parameters][directions], in the blend's order
   * @param confirming each task's mean divergence of the confirming half with them
   */
  public record Result(double[][] coefficients, List<Double> confirming) {
    private double mean() {
      return DivergenceMeter.mean(confirming);
    }
  }

  /**
   * What {@link Listener#measured} was told.
   *
   * @param sampled NaN at step 0
   */
  public record Measurement(int step, double sampled, double confirming) {}

  /**
   * Where a search stands after a measurement: from there it goes on to the same bits.
   *
   * @param step steps taken
   * @param coefficients [groups][directions]
   * @param first Adam's first moments, likewise
   * @param second Adam's second moments, likewise
   * @param worse measurements without improvement
   * @param told all measurements so far
   */
  public record State(
      int step,
      double[][] coefficients,
      double[][] first,
      double[][] second,
      int worse,
      Result best,
      List<Measurement> told) {}

  /** Keeps the state of a search for one like it that goes on where this one was stopped. */
  public interface Memory {
    /** The last state of a search with the same inputs and settings; empty to begin. */
    Optional<State> read();

    /** Keeps a state in place of the one before; its arrays change when this has returned. */
    void save(State state);
  }

  private final WeightBlend blend;
  private final DivergenceMeter meter;
  private final Settings settings;
  private final int[] groupOf;
  private final int groups;

  private BlendTuning(
      WeightBlend blend, DivergenceMeter meter, UnaryOperator<String> group, Settings settings) {
    this.blend = blend;
    this.meter = meter;
    this.settings = settings;
    Map<String, Integer> known = new LinkedHashMap<>();
    this.groupOf =
        blend.names().stream()
            .mapToInt(name -> known.computeIfAbsent(group.apply(name), g -> known.size()))
            .toArray();
    this.groups = known.size();
  }

  /**
   * Searches. The blend's network has any of the weights that were tried when this returns.
   *
   * @param blend of the meter's backbone
   * @param group which parameters share coefficients: those with the same value of it
   * @param start coefficients to begin with, one for each direction
   * @param timeIsUp no further step begins then
   * @param memory read at the beginning, told of every measurement
   */
  public static Result run(
      WeightBlend blend,
      DivergenceMeter meter,
      UnaryOperator<String> group,
      double[] start,
      Settings settings,
      BooleanSupplier timeIsUp,
      Listener listener,
      Memory memory) {
    return new BlendTuning(blend, meter, group, settings).run(start, timeIsUp, listener, memory);
  }

  private Result run(double[] start, BooleanSupplier timeIsUp, Listener listener, Memory memory) {
    SplittableRandom random = new SplittableRandom(settings.seed());
    List<ParameterGroup> parameters =
        meter.backbone().weights().stream().map(Weights.Parameter::group).toList();
    try (GradientSum gradient = new GradientSum(parameters)) {
      State state = memory.read().orElseGet(() -> begin(start, memory));
      state.told.forEach(each -> listener.measured(each.step, each.sampled, each.confirming));
      double[][] c = state.coefficients;
      blend.set(all(c));
      for (int drawn = 0; drawn < state.step; drawn++) {
        meter.sample(settings.examples(), random);
      }
      double sampled = 0;
      int since = 0;
      boolean ends = isLast(state) || timeIsUp.getAsBoolean();
      for (int step = state.step + 1; !ends; step++) {
        gradient.clear();
        sampled += meter.gradient(meter.sample(settings.examples(), random), gradient);
        since++;
        adam(c, grouped(blend.derivative(gradient)), state.first, state.second, step);
        double[][] coefficients = all(c);
        blend.set(coefficients);
        ends = step >= settings.steps() || timeIsUp.getAsBoolean();
        if (step % settings.every() == 0 || ends) {
          state = after(state, step, sampled / since, measured(coefficients));
          listener.measured(step, sampled / since, state.told.getLast().confirming);
          memory.save(state);
          sampled = 0;
          since = 0;
          ends |= isLast(state);
        }
      }
      return state.best;
    }
  }

  private boolean isLast(State state) {
    return state.step >= settings.steps() || state.worse >= PATIENCE;
  }

  /** No step taken, and what the confirming half says of that. */
  private State begin(double[] start, Memory memory) {
    double[][] c = new double[groups][];
    Arrays.setAll(c, g -> start.clone());
    double[][] coefficients = all(c);
    blend.set(coefficients);
    Result first = measured(coefficients);
    State state =
        new State(
            0,
            c,
            new double[groups][start.length],
            new double[groups][start.length],
            0,
            first,
            List.of(new Measurement(0, Double.NaN, first.mean())));
    memory.save(state);
    return state;
  }

  private static State after(State before, int step, double sampled, Result now) {
    boolean better = now.mean() < before.best.mean();
    List<Measurement> told = new ArrayList<>(before.told);
    told.add(new Measurement(step, sampled, now.mean()));
    return new State(
        step,
        before.coefficients,
        before.first,
        before.second,
        better ? 0 : before.worse + 1,
        better ? now : before.best,
        told);
  }

  /** Of the weights that are set. */
  private Result measured(double[][] coefficients) {
    return new Result(coefficients, meter.divergences(Half.CONFIRMING));
  }

  /** Each parameter's, from its group's. */
  private double[][] all(double[][] c) {
    double[][] all = new double[groupOf.length][];
    Arrays.setAll(all, t -> c[groupOf[t]].clone());
    return all;
  }

  private double[][] grouped(double[][] derivative) {
    double[][] sums = new double[groups][blend.directions()];
    for (int t = 0; t < groupOf.length; t++) {
      for (int k = 0; k < blend.directions(); k++) {
        sums[groupOf[t]][k] += derivative[t][k];
      }
    }
    return sums;
  }

  private void adam(
      double[][] c, double[][] derivative, double[][] first, double[][] second, int step) {
    double left = (step - 1.0) / settings.steps();
    double rate = settings.rate() * 0.5 * (1 + Math.cos(Math.PI * left));
    double firstBias = 1 - Math.pow(FIRST_MOMENT, step);
    double secondBias = 1 - Math.pow(SECOND_MOMENT, step);
    for (int g = 0; g < groups; g++) {
      for (int k = 0; k < blend.directions(); k++) {
        double d = derivative[g][k];
        if (!Double.isFinite(d)) {
          continue; // the merged model overflowed on this sample: the others decide
        }
        first[g][k] = FIRST_MOMENT * first[g][k] + (1 - FIRST_MOMENT) * d;
        second[g][k] = SECOND_MOMENT * second[g][k] + (1 - SECOND_MOMENT) * d * d;
        c[g][k] -=
            rate * (first[g][k] / firstBias) / (Math.sqrt(second[g][k] / secondBias) + EPSILON);
      }
    }
  }
}
