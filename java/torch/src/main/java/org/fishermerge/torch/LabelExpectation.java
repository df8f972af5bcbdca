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

  /** Probes for K classes. */
  int probes(int classes);

  /**
   * Writes the cotangents of one example.
   *
   * @param p class probabilities [K], summing to one
   * @param label the example's own label, or -1 where there is none
   * @param random a stream that belongs to this example alone
   * @param cotangents receives [probes][K]
   */
  void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents);

  /** A factor of the squares that this expectation asks for, applied once at the end. */
  default double weight() {
    return 1;
  }

  /** Whether each example's own label is needed. */
  default boolean needsLabels() {
    return false;
  }

  /** Whether gradients are summed over the batch before squaring. */
  default boolean squaresBatches() {
    return false;
  }

  /** {@code exact | sampled:V | argmax | true | batch-square}. */
  static LabelExpectation parse(String text) {
    String[] parts = text.split(":", -1);
    String name = parts[0];
    if (name.equals("sampled") && parts.length == 2) {
      return new Sampled(positive(text, parts[1]));
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
            + "\" is not a label expectation; expected exact, sampled:V (V draws per example),"
            + " argmax, true or batch-square");
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
    public void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents) {
      int classes = p.length;
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
        Arrays.fill(column, 0);
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
    public void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents) {
      for (int draw = 0; draw < draws; draw++) {
        double u = random.nextDouble();
        int drawn = 0;
        double cumulative = p[0];
        while (u >= cumulative && drawn < p.length - 1) {
          drawn++;
          cumulative += p[drawn];
        }
        labelCotangent(p, drawn, cotangents[draw]);
      }
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
    public void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents) {
      int best = 0;
      for (int c = 1; c < p.length; c++) {
        if (p[c] > p[best]) {
          best = c;
        }
      }
      labelCotangent(p, best, cotangents[0]);
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
    public void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents) {
      labelCotangent(p, Math.toIntExact(label), cotangents[0]);
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
    public void cotangents(double[] p, long label, ExampleRandom random, double[][] cotangents) {
      double roots = 0;
      for (double pc : p) {
        roots += Math.sqrt(pc);
      }
      for (int c = 0; c < p.length; c++) {
        cotangents[0][c] = Math.sqrt(p[c]) - p[c] * roots;
      }
    }
  }

  /**
   * d log p_label / dz, with the label's own entry summed from the others so that it keeps its
   * digits.
   */
  private static void labelCotangent(double[] p, int label, double[] cotangent) {
    double others = 0;
    for (int c = 0; c < p.length; c++) {
      if (c != label) {
        cotangent[c] = -p[c];
        others += p[c];
      }
    }
    cotangent[label] = others;
  }
}
