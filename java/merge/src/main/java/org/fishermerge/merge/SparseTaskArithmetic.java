package org.fishermerge.merge;

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Optional;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.MagnitudeCounts;
import org.fishermerge.kernels.TaskVectorMix.Mix;

/**
 * Task arithmetic with task vectors that are trimmed first, tensor by tensor or as a whole:
 *
 * <pre>
 * theta = base + s mix_i(c_i trim(theta_i - base))
 * </pre>
 *
 * with the terms summed up, all or only those that have the elected sign, and divided by the sum of
 * their coefficients or not. TIES (Yadav et al. 2023) trims by magnitude and elects signs; DARE (Yu
 * et al. 2024) drops at random; Model Breadcrumbs (Davari and Belilovsky 2024) also drops the
 * largest. Numbers and ties are settled as mergekit's merge methods do in float32 on the CPU, where
 * of equal magnitudes the one of lower index counts as the larger in TIES and as the smaller in
 * Breadcrumbs; random draws are our own. Trimming whole models is what FusionBench's TIES does.
 *
 * @param trim which differences are kept
 * @param density share of the differences that are kept, above 0; 1 and more keep all
 * @param gamma share of the largest that {@link Trim#OUTLIERS} drops, from 0
 * @param electsSigns whether only terms of the elected sign count: that of the sum of all terms
 * @param normalizes whether the sum of terms is divided by that of their coefficients
 * @param rescale by what kept differences are multiplied
 * @param scalingFactor s, finite; mergekit's lambda
 * @param seed of {@link Trim#RANDOM}
 */
public record SparseTaskArithmetic(
    Trim trim,
    TensorSetting density,
    TensorSetting gamma,
    boolean electsSigns,
    boolean normalizes,
    Rescale rescale,
    double scalingFactor,
    long seed)
    implements TensorRule {
  /** Which differences are kept. */
  public enum Trim {
    /** All. */
    NONE,
    /** The largest. */
    MAGNITUDE,
    /** The largest of the whole model, and all that are equal to the smallest of these. */
    MODEL_MAGNITUDE,
    /** The largest but for the outliers. */
    OUTLIERS,
    /** Each with a probability of the density. */
    RANDOM
  }

  /** By what those that are kept are multiplied. */
  public enum Rescale {
    /** By 1. */
    NONE,
    /** So that the tensor's L1 norm stays the same: mergekit's {@code rescale}. */
    L1,
    /** By 1 / density, as the DARE paper and FusionBench do. */
    DENSITY
  }

  /** mergekit's {@code gamma}. */
  public static final double DEFAULT_GAMMA = 0.01;

  /** Norms below it are not rescaled. */
  private static final double LEAST_NORM = 1e-7;

  /**
   * Checks the factor. Densities are checked tensor by tensor.
   *
   * @throws InputException if it is not finite
   */
  public SparseTaskArithmetic {
    Average.requireScalingFactor(scalingFactor);
  }

  @Override
  public String title() {
    String how = electsSigns ? "with elected signs" : "";
    return switch (trim) {
      case NONE -> ("task arithmetic " + how).strip();
      case MAGNITUDE, MODEL_MAGNITUDE ->
          electsSigns ? "TIES merge" : "task arithmetic trimmed by magnitude";
      case OUTLIERS -> ("Breadcrumbs merge " + how).strip();
      case RANDOM -> ("DARE merge " + how).strip();
    };
  }

  @Override
  public Optional<String> settings() {
    return Optional.of(
        String.join(
            ", ",
            Stream.of(
                    trim == Trim.NONE ? "" : "density " + density.text() + ofWhat(),
                    trim == Trim.OUTLIERS ? "gamma " + gamma.text() : "",
                    normalizes ? "divided by the coefficients" : "",
                    switch (rescale) {
                      case NONE -> "";
                      case L1 -> "rescaled to the L1 norm";
                      case DENSITY -> "rescaled by 1 / density";
                    },
                    "scaling factor " + scalingFactor,
                    trim == Trim.RANDOM ? "seed " + seed : "")
                .filter(text -> !text.isEmpty())
                .toList()));
  }

  private String ofWhat() {
    return trim == Trim.MODEL_MAGNITUDE ? " of each model" : "";
  }

  @Override
  public int passes() {
    return 1 + countings() + rankings() + (rescale == Rescale.L1 ? 1 : 0);
  }

  /** How often models are counted before the first tensor is merged. */
  int countings() {
    return trim == Trim.MODEL_MAGNITUDE ? MagnitudeCounts.ROUNDS : 0;
  }

  @Override
  public int rankings() {
    return trim == Trim.MAGNITUDE ? 1 : trim == Trim.OUTLIERS ? 2 : 0;
  }

  @Override
  public void checkSettings(Collection<String> tensors, int models) {
    for (String tensor : tensors) {
      for (int i = 0; i < models; i++) {
        density(tensor, i);
        gamma(tensor, i);
      }
    }
    if (trim == Trim.MODEL_MAGNITUDE) {
      requireOneDensity(tensors, models);
    }
    density.requireUsed(tensors);
    gamma.requireUsed(tensors);
  }

  private void requireOneDensity(Collection<String> tensors, int models) {
    for (int i = 0; i < models; i++) {
      int model = i;
      if (tensors.stream().mapToDouble(tensor -> density.of(tensor, model)).distinct().count()
          > 1) {
        throw new InputException(
            "the density differs from tensor to tensor; where the largest differences of a whole"
                + " model are kept, it is one for each model");
      }
    }
  }

  /** The models and the base. */
  @Override
  public ElementwiseRule elementwise() {
    return new TaskArithmetic(scalingFactor);
  }

  Mix how() {
    if (electsSigns) {
      return normalizes ? Mix.ELECTED_MEAN : Mix.ELECTED_SUM;
    }
    return normalizes ? Mix.MEAN : Mix.SUM;
  }

  /** A share that may be more than 1, as mergekit's may. */
  private static double share(String name, double value, boolean mayBeZero, String tensor) {
    if (!(value >= 0 && Double.isFinite(value)) || (value == 0 && !mayBeZero)) {
      throw new InputException(
          "the %s of tensor '%s' is %s; it is a share from 0 to 1%s"
              .formatted(name, tensor, value, mayBeZero ? "" : ", and not 0"));
    }
    return value;
  }

  double density(String tensor, int model) {
    return share("density", density.of(tensor, model), false, tensor);
  }

  double gamma(String tensor, int model) {
    return share("gamma", gamma.of(tensor, model), true, tensor);
  }

  /** How many of a tensor's elements are kept; one at least, where mergekit would stop. */
  static long kept(double density, long elements) {
    return Math.max(1, (long) (density * elements));
  }

  /**
   * How many outliers are dropped: the share gamma, but no more than leaves those that are kept. In
   * tensors so small that this is none, mergekit keeps nothing.
   */
  static long outliers(double gamma, long kept, long elements) {
    return Math.min((long) (gamma * elements), elements - kept);
  }

  /** What kept differences are multiplied by for their L1 norm to be that of all. */
  static double rescaling(double all, double kept) {
    return all < LEAST_NORM || kept < LEAST_NORM ? 1 : all / kept;
  }

  /** For the draws of a model's tensor, whatever else is merged, in whatever files. */
  long seed(String tensor, int model) {
    long hash = 0xCBF29CE484222325L; // FNV-1a
    for (byte b : tensor.getBytes(StandardCharsets.UTF_8)) {
      hash = (hash ^ (b & 0xFF)) * 0x100000001B3L;
    }
    return mixed(mixed(seed) ^ (mixed(hash) + model * 0x9E3779B97F4A7C15L));
  }

  /** The finaliser of SplittableRandom (Steele et al. 2014). */
  private static long mixed(long x) {
    long z = (x ^ (x >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
