package org.fishermerge.cli.tune;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.DoubleFunction;

/**
 * Looks for the merge with the least divergence, coarse to fine: the base and every rule as it is;
 * dampings in steps of ten as long as that gets better; scales along each rule's best direction,
 * that of the best rule first; at last smaller steps of damping and scale around the best. What the
 * last tries would refine is left where there are fewer tries.
 */
final class DirectionSearch {
  /** Dampings that are tried at most: from one end to the other, and two between. */
  static final int MOST_DAMPINGS = 8;

  private static final double DAMPING_STEP = 10;

  /** With less the systems are so hard that they are not solved to their last digits. */
  private static final double LEAST_DAMPING = 1e-3;

  private static final double MOST_DAMPING = 1e2;
  private static final double SCALE_STEP = 1.25;
  private static final double FINE_SCALE_STEP = 1.1;
  private static final double LEAST_SCALE = 0.1;
  private static final double MOST_SCALE = 8;

  /** Measures a merge. */
  @FunctionalInterface
  interface Objective {
    /** Less is better; infinite where a merge cannot be used. */
    double divergence(Direction direction, double scale);
  }

  /** A merge that was tried. */
  record Try(Direction direction, double scale, double divergence) {}

  private final int tries;
  private final BooleanSupplier timeIsUp;
  private final Objective objective;
  private final Consumer<Try> listener;
  private final List<Try> done = new ArrayList<>();
  private final Map<Direction, Setting> settings = new HashMap<>();

  private record Setting(Direction.Family.Damped family, double damping) {}

  private DirectionSearch(
      int tries, BooleanSupplier timeIsUp, Objective objective, Consumer<Try> listener) {
    this.tries = tries;
    this.timeIsUp = timeIsUp;
    this.objective = objective;
    this.listener = listener;
  }

  /**
   * Searches.
   *
   * @param average tried first at scale 0, where it is the base, and at 1
   * @param families further rules
   * @param tries at least one
   * @param timeIsUp no further try begins then; the first always does
   * @param listener told of each try when it is done
   * @return all tries, in order
   */
  static List<Try> run(
      Direction average,
      List<Direction.Family> families,
      int tries,
      BooleanSupplier timeIsUp,
      Objective objective,
      Consumer<Try> listener) {
    DirectionSearch search = new DirectionSearch(tries, timeIsUp, objective, listener);
    search.run(average, families);
    return List.copyOf(search.done);
  }

  /** The best of some tries; the earliest of equals. */
  static Try best(List<Try> tries) {
    return tries.stream().min(Comparator.comparingDouble(Try::divergence)).orElseThrow();
  }

  private void run(Direction average, List<Direction.Family> families) {
    attempt(average, 0);
    List<Try> bests = new ArrayList<>();
    attempt(average, 1).ifPresent(bests::add);
    for (Direction.Family family : families) {
      switch (family) {
        case Direction.Family.Single(Direction direction) ->
            attempt(direction, 1).ifPresent(bests::add);
        case Direction.Family.Damped damped -> dampings(damped).ifPresent(bests::add);
      }
    }
    bests.sort(Comparator.comparingDouble(Try::divergence));
    for (Try each : bests) {
      scales(each, SCALE_STEP);
    }
    Try best = best(done);
    Setting setting = settings.get(best.direction);
    if (setting != null) {
      for (double step : new double[] {Math.sqrt(DAMPING_STEP), 1 / Math.sqrt(DAMPING_STEP)}) {
        double damping = setting.damping * step;
        if (LEAST_DAMPING <= damping && damping <= MOST_DAMPING) {
          attempt(damped(setting.family, damping), best.scale);
        }
      }
    }
    scales(best(done), FINE_SCALE_STEP);
  }

  /** The best damping at scale 1. */
  private Optional<Try> dampings(Direction.Family.Damped family) {
    double start = Math.clamp(family.start(), LEAST_DAMPING, MOST_DAMPING);
    return attempt(damped(family, start), 1)
        .map(first ->
            climb(
                first,
                start,
                DAMPING_STEP,
                damping ->
                    LEAST_DAMPING <= damping && damping <= MOST_DAMPING
                        ? attempt(damped(family, damping), 1)
                        : Optional.empty()));
  }

  private Direction damped(Direction.Family.Damped family, double damping) {
    Direction direction = family.at().apply(damping);
    settings.put(direction, new Setting(family, damping));
    return direction;
  }

  /** The best scale along a direction, from one that was tried. */
  private void scales(Try from, double factor) {
    climb(
        from,
        from.scale,
        factor,
        scale ->
            LEAST_SCALE <= scale && scale <= MOST_SCALE
                ? attempt(from.direction, scale)
                : Optional.empty());
  }

  /**
   * Multiplies a setting by a factor as long as that gets better, or else divides it.
   *
   * @param from what was tried at the setting {@code start}
   * @param attempt tries a setting; empty beyond its range, and when no try is left
   * @return the best try
   */
  private static Try climb(
      Try from, double start, double factor, DoubleFunction<Optional<Try>> attempt) {
    Try best = from;
    for (double step : new double[] {factor, 1 / factor}) {
      double setting = start * step;
      Optional<Try> next = attempt.apply(setting);
      while (next.isPresent() && next.get().divergence < best.divergence) {
        best = next.get();
        setting *= step;
        next = attempt.apply(setting);
      }
      if (best.divergence < from.divergence) {
        return best; // it gets worse the other way
      }
    }
    return best;
  }

  /** Empty when no try is left. */
  private Optional<Try> attempt(Direction direction, double scale) {
    if (done.size() >= tries || (!done.isEmpty() && timeIsUp.getAsBoolean())) {
      return Optional.empty();
    }
    double s = Math.round(1000 * scale) / 1000.0; // as it is printed
    Try tried = new Try(direction, s, objective.divergence(direction, s));
    done.add(tried);
    listener.accept(tried);
    return Optional.of(tried);
  }
}
