package org.fishermerge.torch;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.InputException;

/**
 * How the expectation over labels in the Fisher information is taken: a rule that turns one
 * example's class probabilities p into cotangents of its logits ("probes"). The Fisher estimate is
 * the sum over probes of the squared gradients that they pull back.
 *
 * <p>With z the logits, d log p_y / dz = e_y - p, so the exact expectation needs any factor A with
 * A A^T = diag(p) - p p^T, one probe per column.
 */
public sealed interface LabelExpectation {
  /** The name and parameters, as given on the command line and kept in Fisher files. */
  String text();

  /** The most probes that one example of K classes takes. */
  int probes(int classes);

  /**
   * The cotangents of one example, one row for each of its probes, [at most probes(K)][K].
   *
   * @param p class probabilities [K], summing to one
   * @param label the example's own label, or -1 where there is none
   * @param random a stream that belongs to this example alone
   */
  double[][] cotangents(double[] p, long label, ExampleRandom random);

  /** A factor of the squares that this expectation asks for, applied once at the end. */
  default double weight() {
    return 1;
  }

  /** Predictions of how many examples {@link #calibrated} wants to see before the run. */
  default int calibrationExamples() {
    return 0;
  }

  /**
   * This rule, fitted to the model that it will be used on.
   *
   * @param predictions class probabilities of the first {@link #calibrationExamples} examples of
   *     the run, or of all where there are fewer, [examples][K]
   */
  default LabelExpectation calibrated(List<double[]> predictions) {
    return this;
  }

  /** Whether each example's own label is needed. */
  default boolean needsLabels() {
    return false;
  }

  /** Whether gradients are summed over the batch before squaring. */
  default boolean squaresBatches() {
    return false;
  }

  /**
   * {@code exact | adaptive:V | lowrank:M | top:M | rademacher:V | sampled:V | argmax | true |
   * batch-square}.
   */
  static LabelExpectation parse(String text) {
    int colon = text.indexOf(':');
    if (colon >= 0) {
      String number = text.substring(colon + 1);
      LabelExpectation numbered =
          switch (text.substring(0, colon)) {
            case "lowrank" -> new LowRank(positive(text, number));
            case "adaptive" -> new Adaptive(positive(text, number), Double.NaN);
            case "rademacher" -> new Rademacher(positive(text, number));
            case "top" -> new Top(positive(text, number));
            case "sampled" -> new Sampled(positive(text, number));
            default -> null;
          };
      if (numbered != null) {
        return numbered;
      }
    }
    for (LabelExpectation simple :
        List.of(new Exact(), new Argmax(), new TrueLabel(), new BatchSquare())) {
      if (simple.text().equals(text)) {
        return simple;
      }
    }
    throw new InputException(
        "labels \""
            + text
            + "\" is not a label expectation; expected exact, adaptive:V, lowrank:M, top:M,"
            + " rademacher:V or sampled:V (M directions or classes, V backward passes), argmax, true"
            + " or batch-square");
  }

  private static int positive(String text, String number) {
    try {
      int value = Integer.parseInt(number);
      if (value >= 1 && value <= 10_000) {
        return value;
      }
    } catch (NumberFormatException e) {
      // The message below covers it.
    }
    throw new InputException(
        "labels \"" + text + "\": the number after the colon must be from 1 to 10000");
  }

  /**
   * Every class, weighted by its probability. The K-1 columns are the Cholesky factor of diag(p) -
   * p p^T (Tanabe and Sagae, 1992), one backward pass fewer than one per class. Classes are taken
   * in falling order of p and the remaining mass is summed from the smallest up, so that nothing
   * cancels when one class has nearly all of it, and the last columns of a confident example carry
   * next to nothing.
   */
  record Exact() implements LabelExpectation {
    @Override
    public String text() {
      return "exact";
    }

    @Override
    public int probes(int classes) {
      return classes - 1;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      int classes = p.length;
      double[][] cotangents = new double[classes - 1][classes];
      int[] order =
          IntStream.range(0, classes)
              .boxed()
              .sorted(Comparator.comparingDouble((Integer c) -> -p[c]))
              .mapToInt(Integer::intValue)
              .toArray();
      double[] mass = new double[classes + 1]; // of the classes from a rank on
      for (int rank = classes - 1; rank >= 0; rank--) {
        mass[rank] = mass[rank + 1] + p[order[rank]];
      }
      for (int j = 0; j < classes - 1; j++) {
        double[] column = cotangents[j];
        double rest = mass[j + 1];
        if (rest <= 0) {
          continue;
        }
        double pivot = Math.sqrt(p[order[j]] * (rest / mass[j]));
        column[order[j]] = pivot;
        for (int rank = j + 1; rank < classes; rank++) {
          column[order[rank]] = -pivot * (p[order[rank]] / rest);
        }
      }
      return cotangents;
    }
  }

  /**
   * The {@code directions} leading eigen-directions of each example's label covariance exactly, and
   * one random-sign probe over what is left. Unbiased for any number; exact where directions and
   * probe together are as many as the covariance has directions, K-1.
   */
  record LowRank(int directions) implements LabelExpectation {
    @Override
    public String text() {
      return "lowrank:" + directions;
    }

    @Override
    public int probes(int classes) {
      return Math.min(directions + 1, classes - 1);
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      return directions + 1 >= p.length - 1
          ? new Exact().cotangents(p, label, random)
          : leading(new LabelCovariance(p), directions, 1, random);
    }
  }

  /**
   * The passes go where they matter: each example gets as many probes as still lower the variance
   * of the whole by more than a threshold each, and takes the best number of leading directions
   * among them exactly ({@link LabelCovariance#variance}). An unsure example gets many, a confident
   * one a single probe. The threshold comes from {@link #calibrated}, such that examples take
   * {@code meanProbes} on average; whatever it is, the estimate is unbiased. Numbers of probes are
   * powers of two, because probes run fastest where many examples of a batch take as many.
   *
   * @param meanProbes backward passes per example, on average over those calibrated on
   * @param threshold of the variance saved per probe; NaN before calibration
   */
  record Adaptive(int meanProbes, double threshold) implements LabelExpectation {
    @Override
    public String text() {
      return "adaptive:" + meanProbes;
    }

    @Override
    public int probes(int classes) {
      return classes - 1;
    }

    @Override
    public int calibrationExamples() {
      return 64;
    }

    @Override
    public Adaptive calibrated(List<double[]> predictions) {
      List<LabelCovariance> covariances = predictions.stream().map(LabelCovariance::new).toList();
      // Down by octaves, so that no more eigenvalues are sought than the budget pays for, and then
      // by bisection.
      double high = 1; // more than any variance
      while (high > Double.MIN_NORMAL && affords(high / 2, covariances)) {
        high /= 2;
      }
      double low = high / 2;
      for (int i = 0; i < 10; i++) {
        double middle = (low + high) / 2;
        if (affords(middle, covariances)) {
          high = middle;
        } else {
          low = middle;
        }
      }
      return new Adaptive(meanProbes, high);
    }

    private boolean affords(double threshold, List<LabelCovariance> covariances) {
      long probes = 0;
      for (LabelCovariance covariance : covariances) {
        probes += probes(covariance, threshold);
      }
      return probes <= (long) meanProbes * covariances.size();
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      if (Double.isNaN(threshold)) {
        throw new IllegalStateException(text() + " needs to be calibrated");
      }
      LabelCovariance covariance = new LabelCovariance(p);
      int probes = probes(covariance, threshold);
      if (probes >= p.length - 1) {
        return new Exact().cotangents(p, label, random);
      }
      int directions = covariance.bestDirections(probes);
      return leading(covariance, directions, probes - directions, random);
    }

    private static int probes(LabelCovariance covariance, double threshold) {
      int most = covariance.classes() - 1;
      int probes = 1;
      while (probes < most
          && covariance.variance(probes) - covariance.variance(2 * probes) > threshold * probes) {
        probes *= 2;
      }
      return Math.min(probes, most);
    }
  }

  /** Random signs over all classes at once, the mean of {@code draws} such probes: unbiased. */
  record Rademacher(int draws) implements LabelExpectation {
    @Override
    public String text() {
      return "rademacher:" + draws;
    }

    @Override
    public int probes(int classes) {
      return draws;
    }

    @Override
    public double weight() {
      return 1.0 / draws;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      LabelCovariance covariance = new LabelCovariance(p);
      double[][] cotangents = new double[draws][p.length];
      for (double[] cotangent : cotangents) {
        covariance.pullTo(signs(p.length, random), cotangent);
      }
      return cotangents;
    }
  }

  /**
   * The {@code classes} likeliest classes exactly, and one random-sign probe over the others.
   * Unbiased; {@link LowRank} leaves less to chance at the same cost.
   */
  record Top(int classes) implements LabelExpectation {
    @Override
    public String text() {
      return "top:" + classes;
    }

    @Override
    public int probes(int classCount) {
      return Math.min(classes + 1, classCount - 1);
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      if (classes + 1 >= p.length - 1) {
        return new Exact().cotangents(p, label, random);
      }
      LabelCovariance covariance = new LabelCovariance(p);
      double[][] units =
          Arrays.stream(covariance.order())
              .limit(classes)
              .mapToObj(c -> unit(c, p.length))
              .toArray(double[][]::new);
      return exactAndRandom(covariance, units, 1, random);
    }

    private static double[] unit(int index, int length) {
      double[] unit = new double[length];
      unit[index] = 1;
      return unit;
    }
  }

  /** Labels drawn from the model's own prediction: unbiased, noisy for confident models. */
  record Sampled(int draws) implements LabelExpectation {
    @Override
    public String text() {
      return "sampled:" + draws;
    }

    @Override
    public int probes(int classes) {
      return draws;
    }

    @Override
    public double weight() {
      return 1.0 / draws;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      double[][] cotangents = new double[draws][];
      for (int draw = 0; draw < draws; draw++) {
        double u = random.nextDouble();
        int drawn = 0;
        double cumulative = p[0];
        while (u >= cumulative && drawn < p.length - 1) {
          drawn++;
          cumulative += p[drawn];
        }
        cotangents[draw] = labelCotangent(p, drawn);
      }
      return cotangents;
    }
  }

  /** The predicted label only: biased, never the Fisher information of an unsure model. */
  record Argmax() implements LabelExpectation {
    @Override
    public String text() {
      return "argmax";
    }

    @Override
    public int probes(int classes) {
      return 1;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      int best = 0;
      for (int c = 1; c < p.length; c++) {
        if (p[c] > p[best]) {
          best = c;
        }
      }
      return new double[][] {labelCotangent(p, best)};
    }
  }

  /** The data's own label: the "empirical Fisher". */
  record TrueLabel() implements LabelExpectation {
    @Override
    public String text() {
      return "true";
    }

    @Override
    public int probes(int classes) {
      return 1;
    }

    @Override
    public boolean needsLabels() {
      return true;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      return new double[][] {labelCotangent(p, Math.toIntExact(label))};
    }
  }

  /**
   * FusionBench's formula: the gradient of sum over examples and classes of sqrt(p_c) log p_c, with
   * sqrt(p_c) held constant, squared once per batch. Not the Fisher information: cross terms
   * between examples and classes remain, and the batch size changes the result.
   */
  record BatchSquare() implements LabelExpectation {
    @Override
    public String text() {
      return "batch-square";
    }

    @Override
    public int probes(int classes) {
      return 1;
    }

    @Override
    public boolean squaresBatches() {
      return true;
    }

    @Override
    public double[][] cotangents(double[] p, long label, ExampleRandom random) {
      double roots = 0;
      for (double pc : p) {
        roots += Math.sqrt(pc);
      }
      double[] cotangent = new double[p.length];
      for (int c = 0; c < p.length; c++) {
        cotangent[c] = Math.sqrt(p[c]) - p[c] * roots;
      }
      return new double[][] {cotangent};
    }
  }

  /**
   * d log p_label / dz, with the label's own entry summed from the others so that it keeps its
   * digits.
   */
  private static double[] labelCotangent(double[] p, int label) {
    double[] cotangent = new double[p.length];
    double others = 0;
    for (int c = 0; c < p.length; c++) {
      if (c != label) {
        cotangent[c] = -p[c];
        others += p[c];
      }
    }
    cotangent[label] = others;
    return cotangent;
  }

  /** The leading directions exactly, and random signs over what is left. */
  private static double[][] leading(
      LabelCovariance covariance, int directions, int draws, ExampleRandom random) {
    return exactAndRandom(covariance, covariance.leadingDirections(directions), draws, random);
  }

  /**
   * One probe along each direction, then the mean of {@code draws} random-sign probes over what is
   * left.
   *
   * @param units orthonormal directions of the classes' space
   */
  private static double[][] exactAndRandom(
      LabelCovariance covariance, double[][] units, int draws, ExampleRandom random) {
    int classes = covariance.classes();
    double[][] cotangents = new double[units.length + draws][classes];
    for (int m = 0; m < units.length; m++) {
      covariance.pullTo(units[m], cotangents[m]);
    }
    for (int draw = 0; draw < draws; draw++) {
      double[] signs = signs(classes, random);
      for (double[] unit : units) {
        LabelCovariance.removePart(unit, signs);
      }
      double[] cotangent = cotangents[units.length + draw];
      covariance.pullTo(signs, cotangent);
      for (int c = 0; c < classes; c++) {
        cotangent[c] /= Math.sqrt(draws);
      }
    }
    return cotangents;
  }

  /** A random sign for each class, by its index: what a class draws is the same in every order. */
  private static double[] signs(int classes, ExampleRandom random) {
    double[] signs = new double[classes];
    long bits = 0;
    for (int c = 0; c < classes; c++) {
      if (c % Long.SIZE == 0) {
        bits = random.nextLong();
      }
      signs[c] = (bits >>> (c % Long.SIZE) & 1) == 0 ? 1 : -1;
    }
    return signs;
  }
}
