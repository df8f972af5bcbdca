package org.fishermerge.torch.objective;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.runtime.Tensors;

/**
 * How the expectation over class labels in the Fisher information is taken: a rule that turns the
 * class probabilities p of each example into cotangents of its logits. With z the logits, d log p_y
 * / dz = e_y - p, so the exact expectation needs any factor A with A A^T = diag(p) - p p^T, one
 * probe per column.
 *
 * <p>What is drawn comes from each example's own stream in the process; the numbers drawn go to the
 * device, not the probabilities to the process.
 */
public sealed interface LabelRule extends Objective {
  /**
   * The cotangents of a batch.
   *
   * @param p class probabilities [B, K], float64
   * @return [B, V, K] float64 on the device of p; zeros where an example has fewer than V
   */
  Tensor cotangents(Tensor p, BatchExamples examples);

  @Override
  default Probes probes(Tensor logits, BatchExamples examples) {
    Tensor cotangents =
        Tensors.scoped(() -> cotangents(Logits.probabilities(logits), examples).contiguous());
    // Batch squares add gradients of different examples, which must keep their scale.
    return Probes.of(cotangents, !squaresBatches());
  }

  /**
   * {@code exact | adaptive:V | lowrank:M | top:M | rademacher:V | sampled:V | argmax | true |
   * batch-square}.
   *
   * @throws InputException if there is no such rule
   */
  static LabelRule parse(String text) {
    int colon = text.indexOf(':');
    if (colon >= 0) {
      String number = text.substring(colon + 1);
      LabelRule numbered =
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
    for (LabelRule simple :
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
   * Every class, weighted by its probability: the K-1 columns of the Cholesky factor, one backward
   * pass fewer than one per class.
   */
  record Exact() implements LabelRule {
    @Override
    public String text() {
      return "exact";
    }

    @Override
    public int mostProbes(int classes) {
      return classes - 1;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      return new LabelCovariance(p).choleskyColumns();
    }
  }

  /**
   * The {@code directions} leading eigen-directions of each example's label covariance exactly, and
   * one random-sign probe over what is left. Unbiased for any number; exact where directions and
   * probe together are as many as the covariance has directions, K-1.
   */
  record LowRank(int directions) implements LabelRule {
    @Override
    public String text() {
      return "lowrank:" + directions;
    }

    @Override
    public int mostProbes(int classes) {
      return Math.min(directions + 1, classes - 1);
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      LabelCovariance covariance = new LabelCovariance(p);
      if (directions + 1 >= covariance.classes() - 1) {
        return covariance.choleskyColumns();
      }
      Tensor units = new LabelSpectrum(covariance).directions(directions);
      return exactAndRandom(covariance, units, repeat(directions, p), repeat(1, p), examples);
    }
  }

  /**
   * The passes go where they matter: each example gets as many probes as still lower the variance
   * of the whole by more than a threshold each, and takes the best number of leading directions
   * among them exactly ({@link LabelSpectrum#variance}). An unsure example gets many, a confident
   * one a single probe. The threshold comes from {@link #calibrated}, such that examples take
   * {@code meanProbes} on average; whatever it is, the estimate is unbiased. Numbers of probes are
   * powers of two, because probes run fastest where many examples of a batch take as many.
   *
   * @param meanProbes backward passes per example, on average over those calibrated on
   * @param threshold of the variance saved per probe; NaN before calibration
   */
  record Adaptive(int meanProbes, double threshold) implements LabelRule {
    // Examples with up to so many probes are worked on together; directions that only some of them
    // have cost less than another round of operators.
    private static final int FEW = 8;
    private static final int EXACT = Integer.MAX_VALUE;

    @Override
    public String text() {
      return "adaptive:" + meanProbes;
    }

    @Override
    public int mostProbes(int classes) {
      return classes - 1;
    }

    @Override
    public int calibrationExamples() {
      return 64;
    }

    @Override
    public Adaptive calibrated(List<double[]> predictions) {
      if (predictions.isEmpty()) {
        return new Adaptive(meanProbes, 1);
      }
      int classes = predictions.getFirst().length;
      double[] p = predictions.stream().flatMapToDouble(Arrays::stream).toArray();
      try (PointerScope scope = new PointerScope()) {
        LabelSpectrum spectrum =
            new LabelSpectrum(new LabelCovariance(Tensors.copyOf(p, predictions.size(), classes)));
        // Down by octaves, so that no more eigenvalues are sought than the budget pays for, and
        // then by bisection.
        double high = 1; // more than any variance
        while (high > Double.MIN_NORMAL && affords(high / 2, spectrum)) {
          high /= 2;
        }
        double low = high / 2;
        for (int i = 0; i < 10; i++) {
          double middle = (low + high) / 2;
          if (affords(middle, spectrum)) {
            high = middle;
          } else {
            low = middle;
          }
        }
        return new Adaptive(meanProbes, high);
      }
    }

    private boolean affords(double threshold, LabelSpectrum spectrum) {
      int[] probes = spectrum.probes(threshold);
      return Arrays.stream(probes).asLongStream().sum() <= (long) meanProbes * probes.length;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      if (Double.isNaN(threshold)) {
        throw new IllegalStateException(text() + " needs to be calibrated");
      }
      LabelCovariance covariance = new LabelCovariance(p);
      LabelSpectrum spectrum = new LabelSpectrum(covariance);
      int[] probes = spectrum.probes(threshold);
      int most = Arrays.stream(probes).max().orElse(0);
      Tensor all = p.new_zeros(p.size(0), most, p.size(1));
      for (int[] some : alike(probes, mostProbes(covariance.classes()))) {
        int[] their = Arrays.stream(some).map(b -> probes[b]).toArray();
        Tensor ofSome =
            Tensors.scoped(() ->
                their[0] == mostProbes(covariance.classes())
                    ? covariance.select(some).choleskyColumns()
                    : cotangents(spectrum.select(some), their, examples.select(some)));
        all.narrow(1, 0, ofSome.size(1)).index_copy_(0, Tensors.copyOf(some), ofSome);
      }
      return all;
    }

    /** The cotangents of examples none of which is exact. */
    private static Tensor cotangents(LabelSpectrum spectrum, int[] probes, BatchExamples examples) {
      int[] directions = spectrum.bestDirections(probes);
      int most = Math.max(1, Arrays.stream(directions).max().orElse(1));
      int[] draws = new int[probes.length];
      Arrays.setAll(draws, b -> probes[b] - directions[b]);
      return exactAndRandom(
          spectrum.covariance(), spectrum.directions(most), directions, draws, examples);
    }

    /**
     * Groups of examples: those that are exact, those with few probes, and others by their number.
     */
    private static Iterable<int[]> alike(int[] probes, int exact) {
      Map<Integer, List<Integer>> groups = new TreeMap<>();
      for (int b = 0; b < probes.length; b++) {
        int key = probes[b] == exact ? EXACT : Math.max(FEW, probes[b]);
        groups.computeIfAbsent(key, any -> new ArrayList<>()).add(b);
      }
      return groups.values().stream()
          .map(group -> group.stream().mapToInt(Integer::intValue).toArray())
          .toList();
    }
  }

  /** Random signs over all classes at once, the mean of {@code draws} such probes: unbiased. */
  record Rademacher(int draws) implements LabelRule {
    @Override
    public String text() {
      return "rademacher:" + draws;
    }

    @Override
    public int mostProbes(int classes) {
      return draws;
    }

    @Override
    public double weight() {
      return 1.0 / draws;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      LabelCovariance covariance = new LabelCovariance(p);
      Tensor signs = signs(examples, repeat(0, p), repeat(draws, p), covariance.classes());
      return covariance.cotangents(covariance.byRank(signs));
    }
  }

  /**
   * The {@code classes} likeliest classes exactly, and one random-sign probe over the others.
   * Unbiased; {@link LowRank} leaves less to chance at the same cost.
   */
  record Top(int classes) implements LabelRule {
    @Override
    public String text() {
      return "top:" + classes;
    }

    @Override
    public int mostProbes(int classCount) {
      return Math.min(classes + 1, classCount - 1);
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      LabelCovariance covariance = new LabelCovariance(p);
      if (classes + 1 >= covariance.classes() - 1) {
        return covariance.choleskyColumns();
      }
      Tensor likeliest = torch.eye(classes, covariance.classes(), p.options());
      return exactAndRandom(
          covariance,
          likeliest.expand(p.size(0), -1, -1),
          repeat(classes, p),
          repeat(1, p),
          examples);
    }
  }

  /** Labels drawn from the model's own prediction: unbiased, noisy for confident models. */
  record Sampled(int draws) implements LabelRule {
    @Override
    public String text() {
      return "sampled:" + draws;
    }

    @Override
    public int mostProbes(int classes) {
      return draws;
    }

    @Override
    public double weight() {
      return 1.0 / draws;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      double[] uniform = new double[examples.count() * draws];
      for (int b = 0; b < examples.count(); b++) {
        ExampleRandom random = examples.random(b);
        for (int draw = 0; draw < draws; draw++) {
          uniform[b * draws + draw] = random.nextDouble();
        }
      }
      // The first class up to which the probabilities sum to more than the number drawn.
      Tensor below =
          p.cumsum(1)
              .unsqueeze(1)
              .le(Tensors.copyOf(uniform, examples.count(), draws, 1)); // [B, V, K]
      Tensor labels = below.sum(2).clamp_max_(new Scalar(p.size(1) - 1));
      return ofLabels(p, labels);
    }
  }

  /** The predicted label only: biased, never the Fisher information of an unsure model. */
  record Argmax() implements LabelRule {
    @Override
    public String text() {
      return "argmax";
    }

    @Override
    public int mostProbes(int classes) {
      return 1;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      return ofLabels(p, p.argmax(new LongOptional(1), true));
    }
  }

  /** The data's own label: the "empirical Fisher". */
  record TrueLabel() implements LabelRule {
    @Override
    public String text() {
      return "true";
    }

    @Override
    public int mostProbes(int classes) {
      return 1;
    }

    @Override
    public boolean needsLabels() {
      return true;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      long[] labels = Objects.requireNonNull(examples.labels(), "labels");
      return ofLabels(p, Tensors.copyOf(labels, labels.length, 1));
    }
  }

  /**
   * FusionBench's formula: the gradient of sum over examples and classes of sqrt(p_c) log p_c, with
   * sqrt(p_c) held constant, squared once per batch. Not the Fisher information: cross terms
   * between examples and classes remain, and the batch size changes the result.
   */
  record BatchSquare() implements LabelRule {
    @Override
    public String text() {
      return "batch-square";
    }

    @Override
    public int mostProbes(int classes) {
      return 1;
    }

    @Override
    public boolean squaresBatches() {
      return true;
    }

    @Override
    public Tensor cotangents(Tensor p, BatchExamples examples) {
      Tensor roots = p.sqrt();
      return roots.sub(p.mul(LabelCovariance.sum(roots))).unsqueeze(1);
    }
  }

  /**
   * d log p_label / dz for V labels an example, with the label's own entry summed from the others
   * so that it keeps its digits.
   *
   * @param labels [B, V], int64
   * @return [B, V, K]
   */
  private static Tensor ofLabels(Tensor p, Tensor labels) {
    Tensor own = labels.unsqueeze(2);
    Tensor cotangents =
        p.neg()
            .unsqueeze(1)
            .expand(p.size(0), labels.size(1), p.size(1))
            .contiguous()
            .scatter_(2, own, new Scalar(0.0));
    return cotangents.scatter_(2, own, LabelCovariance.sum(cotangents).neg());
  }

  /**
   * One probe along each direction of an example, then the mean of random-sign probes over what is
   * left.
   *
   * @param units orthonormal directions [B, M, K] by rank
   * @param directions how many of the M each example takes [B]
   * @param draws how many random-sign probes it takes [B]
   * @return [B, V, K], V the most that an example takes of both
   */
  private static Tensor exactAndRandom(
      LabelCovariance covariance,
      Tensor units,
      int[] directions,
      int[] draws,
      BatchExamples examples) {
    int count = examples.count();
    int most = Math.toIntExact(units.size(1));
    int probes = IntStream.range(0, count).map(b -> directions[b] + draws[b]).max().orElse(0);
    double[] taken = new double[count * most];
    double[] shares = new double[count * probes];
    for (int b = 0; b < count; b++) {
      Arrays.fill(taken, b * most, b * most + directions[b], 1);
      int first = b * probes + directions[b];
      Arrays.fill(shares, first, first + draws[b], 1 / Math.sqrt(draws[b]));
    }
    Tensor own = units.mul(Tensors.copyOf(taken, count, most, 1));
    Tensor signs = signs(examples, directions, draws, covariance.classes());
    Tensor u = covariance.byRank(signs).mul_(Tensors.copyOf(shares, count, probes, 1));
    // One by one, so that directions of zeros, which other examples of the batch bring, change no
    // bit.
    for (int m = 0; m < most; m++) {
      Tensor unit = own.narrow(1, m, 1);
      u.addcmul_(LabelCovariance.sum(u.mul(unit)), unit, new Scalar(-1.0));
    }
    u.narrow(1, 0, most).add_(own);
    return covariance.cotangents(u);
  }

  /**
   * A random sign for each class, by its index, 64 of them from a number drawn: what a class draws
   * is the same in every order of classes.
   *
   * @param first the first probe of each example that draws [B]
   * @param draws how many do [B]
   * @return 1 or -1 [B, V, K], float64, V the most of both; 1 where none is drawn
   */
  private static Tensor signs(BatchExamples examples, int[] first, int[] draws, int classes) {
    int count = examples.count();
    int probes = IntStream.range(0, count).map(b -> first[b] + draws[b]).max().orElse(0);
    int words = Math.ceilDiv(classes, Long.SIZE);
    long[] drawn = new long[count * probes * words];
    for (int b = 0; b < count; b++) {
      ExampleRandom random = examples.random(b);
      int from = (b * probes + first[b]) * words;
      for (int i = from; i < from + draws[b] * words; i++) {
        drawn[i] = random.nextLong();
      }
    }
    long[] places = LongStream.range(0, Long.SIZE).toArray();
    return torch
        .bitwise_right_shift(
            Tensors.copyOf(drawn, count, probes, words, 1), Tensors.copyOf(places, places.length))
        .bitwise_and_(new Scalar(1L))
        .view(count, probes, (long) words * Long.SIZE)
        .narrow(2, 0, classes)
        .to(torch.ScalarType.Double)
        .mul_(new Scalar(-2.0))
        .add_(new Scalar(1.0));
  }

  private static int[] repeat(int value, Tensor ofBatch) {
    int[] values = new int[Math.toIntExact(ofBatch.size(0))];
    Arrays.fill(values, value);
    return values;
  }
}
