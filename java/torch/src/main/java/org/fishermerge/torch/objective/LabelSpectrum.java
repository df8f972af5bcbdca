package org.fishermerge.torch.objective;

import static org.fishermerge.torch.runtime.Reproducible.matmul;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The largest eigenvalues of the {@link LabelCovariance} of each example of a batch, the directions
 * that they belong to, and what they say of how many probes an example is worth. All is float64 on
 * the device of p, by rank.
 */
final class LabelSpectrum {
  // Probabilities closer than this share count as different for the search of directions, so that
  // equal ones need no case of their own.
  private static final double SEPARATION = 0x1p-30;
  // Smaller ones count as this, so that quotients and their squares stay in range.
  private static final double SMALLEST = 1e-150;
  private static final int BISECTIONS = 40;
  // Enough to compare 8 probes with 4. One search of all examples for so many eigenvalues takes
  // less time than several for fewer.
  private static final int SOUGHT_FOR_ALL = 7;

  private final LabelCovariance covariance;
  private final Tensor p; // [B, K], falling
  private final Tensor poles; // [B, K], strictly falling
  private final Tensor trace; // [B, 1]: sum of the eigenvalues
  private final Tensor squares; // [B, 1]: sum of their squares
  private @Nullable Eigenvalues leading; // as far as they were asked for
  private final List<double[]> gains = new ArrayList<>(); // see gains(int, int[])

  /**
   * The largest eigenvalues. Each is given by its distance to a pole close by, its origin, so that
   * differences to poles keep their digits.
   *
   * @param distance [B, M, 1]
   * @param gaps from the origin to every pole [B, M, K]
   * @param pairs the sum over pairs of what is left after 0 ... M of them [B, M+1]
   */
  private record Eigenvalues(Tensor distance, Tensor gaps, Tensor pairs) {
    long count() {
      return gaps.size(1);
    }

    Eigenvalues select(Tensor examples) {
      return new Eigenvalues(
          distance.index_select(0, examples),
          gaps.index_select(0, examples),
          pairs.index_select(0, examples));
    }
  }

  LabelSpectrum(LabelCovariance covariance) {
    this.covariance = covariance;
    p = covariance.probabilities();
    double[] fall = new double[covariance.classes()];
    Arrays.setAll(fall, rank -> Math.pow(1 - SEPARATION, rank));
    Tensor separation = Tensors.copyOf(fall, fall.length);
    T_TensorTensor_T least = torch.cummin(p.clamp_min(new Scalar(SMALLEST)).div_(separation), 1);
    poles = new Tensor(least.get0()).mul(separation);
    // Everything but the likeliest class is summed apart, so that nothing cancels when p is next to
    // certain. Squares: the norm of S, entry by entry.
    Tensor top = p.narrow(1, 0, 1);
    Tensor rest = p.narrow(1, 1, classes() - 1L);
    Tensor restSquares = rest.square();
    Tensor others = LabelCovariance.sum(rest);
    Tensor otherSquares = LabelCovariance.sum(restSquares);
    Tensor fourths = LabelCovariance.sum(restSquares.square());
    Tensor variances = rest.sub(restSquares);
    Tensor variance = top.mul(others);
    trace = LabelCovariance.sum(variances).add_(variance);
    squares =
        LabelCovariance.sum(variances.square())
            .add_(variance.square())
            .add_(top.square().mul_(otherSquares).mul_(new Scalar(2.0)))
            .add_(otherSquares.square().sub_(fourths).clamp_min_(new Scalar(0.0)));
  }

  private int classes() {
    return covariance.classes();
  }

  /** That of some of the examples. */
  LabelSpectrum select(int[] examples) {
    LabelSpectrum some = new LabelSpectrum(covariance.select(examples));
    if (leading != null) {
      some.leading = leading.select(Tensors.copyOf(examples));
    }
    return some;
  }

  LabelCovariance covariance() {
    return covariance;
  }

  /**
   * The leading right singular vectors of A [B, count, K], orthonormal and orthogonal to q: {@code
   * u_c = sqrt(p_c) / (p_c - lambda)}, lambda a root of {@code sum_c p_c / (p_c - lambda)}.
   *
   * @param count at most K-1
   */
  Tensor directions(int count) {
    Eigenvalues found = eigenvalues(count); // kept, so outside the scope
    return Tensors.scoped(() -> {
      Tensor units =
          poles
              .sqrt()
              .unsqueeze(1)
              .div(found.gaps.narrow(1, 0, count).sub(found.distance.narrow(1, 0, count)));
      units.div_(norm(units));
      Tensor q = p.sqrt().unsqueeze(1);
      Tensor top = q.narrow(2, 0, 1);
      Tensor rest = q.narrow(2, 1, classes() - 1L);
      for (int m = 0; m < count; m++) {
        Tensor unit = units.narrow(1, m, 1);
        Tensor before = units.narrow(1, 0, m);
        // Twice is enough (Kahan and Parlett).
        for (int pass = 0; pass < 2; pass++) {
          Tensor others = LabelCovariance.sum(unit.narrow(2, 1, classes() - 1L).mul(rest));
          unit.narrow(2, 0, 1).copy_(others.div_(top).neg_());
          if (m > 0) {
            unit.sub_(matmul(matmul(unit, before.transpose(1, 2)), before));
          }
          unit.div_(norm(unit));
        }
      }
      return units;
    });
  }

  private static Tensor norm(Tensor vectors) {
    return LabelCovariance.sum(vectors.square()).sqrt_();
  }

  /** How many eigenvalues {@link #variance} needs. */
  private static int needed(int probes) {
    return Math.max(1, probes - 1);
  }

  private Eigenvalues eigenvalues(int count) {
    if (leading == null || leading.count() < count) {
      leading = search(count);
    }
    return leading;
  }

  /**
   * Eigenvalues interlace with the probabilities, p_1 >= lambda_1 >= p_2 >= lambda_2 ..., and none
   * exceeds the trace. All are sought at once, by bisection.
   */
  private Eigenvalues search(int count) {
    Tensor lower = poles.narrow(1, 1, count).unsqueeze(2); // [B, M, 1], like all but gaps
    Tensor upper = poles.narrow(1, 0, count).unsqueeze(2);
    Tensor width =
        torch
            .minimum(
                upper, torch.maximum(trace.unsqueeze(2), lower.mul(new Scalar(1 + SEPARATION))))
            .sub_(lower);
    Tensor half = width.div(new Scalar(2.0));
    Tensor gaps = poles.unsqueeze(1).sub(lower); // [B, M, K]
    Tensor terms = torch.empty_like(gaps);
    Tensor sums = torch.empty_like(half);
    secular(gaps, half, terms, sums);
    Tensor nearLower = lower.add(width).lt(upper).logical_or(sums.gt(new Scalar(0.0)));
    Tensor origin = torch.where(nearLower, lower, upper);
    torch.sub_out(gaps, poles.unsqueeze(1), origin);
    // The root lies within reach of the middle; seen from the lower pole above it, from the upper
    // one below.
    Tensor reach = torch.where(nearLower, half, half.div(new Scalar(2.0)));
    Tensor middle = torch.where(nearLower, reach, reach.neg());
    Scalar two = new Scalar(2.0);
    Scalar back = new Scalar(-1.0);
    for (int i = 0; i < BISECTIONS; i++) {
      secular(gaps, middle, terms, sums);
      middle.addcmul_(sums.sign_(), reach.div_(two), back);
    }
    // The end of the interval that is not the pole.
    Tensor distance = middle.add_(torch.where(nearLower, reach, reach.neg()));
    return new Eigenvalues(distance, gaps, pairs(origin.add(distance).squeeze(2)));
  }

  /**
   * sum_c p_c / (p_c - lambda) of lambda = origin + distance; rises from pole to pole.
   *
   * @param gaps from the origin to every pole [B, M, K]
   * @param terms overwritten [B, M, K]
   * @param sums where the result goes [B, M, 1]
   */
  private void secular(Tensor gaps, Tensor distance, Tensor terms, Tensor sums) {
    torch.sub_out(terms, gaps, distance);
    torch.div_out(terms, poles.unsqueeze(1), terms);
    torch.sum_out(sums, terms, new long[] {2}, true, new ScalarTypeOptional());
  }

  /**
   * The sum of lambda_k lambda_l over pairs k != l of all but the first m, m = 0 ... M [B, M+1].
   */
  private Tensor pairs(Tensor eigenvalues) {
    Tensor sum = torch.cat(new TensorVector(trace, eigenvalues.neg()), 1).cumsum(1);
    Tensor ofSquares =
        torch.cat(new TensorVector(squares, eigenvalues.square().neg_()), 1).cumsum(1);
    return sum.square_().sub_(ofSquares).clamp_min_(new Scalar(0.0));
  }

  /**
   * How far an estimate from some probes strays [B], up to a factor that belongs to the example:
   * the variance left when the best number of leading directions is taken exactly and the other
   * probes average over random signs. With h_k the derivative along direction k, one random-sign
   * probe has the variance 2 sum_{k != l} h_k^2 h_l^2; h_k^2 is taken as proportional to the
   * eigenvalue.
   */
  Tensor variance(int probes) {
    return probes >= classes() - 1
        ? p.new_zeros(p.size(0))
        : new Tensor(bySplit(probes).min(1, false).get0());
  }

  /** The number of leading directions that {@link #variance} assumes for each example [B]. */
  int[] bestDirections(int[] probes) {
    int[] best = new int[probes.length];
    for (int same : Arrays.stream(probes).distinct().toArray()) {
      int[] ofAll = Tensors.ints(bySplit(same).argmin(new LongOptional(1), false));
      for (int b = 0; b < best.length; b++) {
        best[b] = probes[b] == same ? ofAll[b] : best[b];
      }
    }
    return best;
  }

  /** The variance [B, probes] with 0 ... probes-1 of the probes for directions. */
  private Tensor bySplit(int probes) {
    double[] draws = new double[probes];
    Arrays.setAll(draws, m -> probes - m);
    return eigenvalues(needed(probes))
        .pairs
        .narrow(1, 0, probes)
        .div(Tensors.copyOf(draws, probes));
  }

  /**
   * The number of probes that each example is worth: as many, in powers of two, as still lower its
   * variance by more than a threshold each; K-1 at most.
   */
  int[] probes(double threshold) {
    int most = classes() - 1;
    int[] probes = new int[covariance.examples()];
    Arrays.fill(probes, Math.min(1, most));
    if (most > 1) {
      eigenvalues(Math.min(SOUGHT_FOR_ALL, most));
    }
    int[] going = new int[probes.length];
    Arrays.setAll(going, b -> b);
    for (int doubling = 0; 1 << doubling < most && going.length > 0; doubling++) {
      double[] gain = gains(doubling, going);
      going = Arrays.stream(going).filter(b -> gain[b] > threshold).toArray();
      for (int b : going) {
        probes[b] = Math.min(2 << doubling, most);
      }
    }
    return probes;
  }

  /**
   * What each further probe lowers an example's variance by when it takes twice 2^doubling, one
   * number an example in the process's memory. Computed for those examples alone that it is asked
   * for, since the search is the longer the more eigenvalues it is for.
   */
  private double[] gains(int doubling, int[] examples) {
    if (gains.size() <= doubling) {
      double[] unknown = new double[covariance.examples()];
      Arrays.fill(unknown, Double.NaN);
      gains.add(unknown);
    }
    double[] known = gains.get(doubling);
    int[] missing = Arrays.stream(examples).filter(b -> Double.isNaN(known[b])).toArray();
    if (missing.length > 0) {
      int probes = 1 << doubling;
      int needed = 2 * probes >= classes() - 1 ? needed(probes) : needed(2 * probes);
      boolean all = missing.length == known.length;
      boolean sought = leading != null && leading.count() >= needed;
      double[] values = all || sought ? gain(probes) : select(missing).gain(probes);
      for (int i = 0; i < missing.length; i++) {
        known[missing[i]] = values[all || sought ? missing[i] : i];
      }
    }
    return known;
  }

  private double[] gain(int probes) {
    return Tensors.doubles(
        variance(probes).sub(variance(2 * probes)).div_(new Scalar((double) probes)));
  }
}
