package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.data.Selection;
import org.fishermerge.data.TensorExamples;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.LabelRule;
import org.fishermerge.torch.objective.Objective;

/**
 * {@code benchmarks/run estimators MODEL CLIP DATA.safetensors#prefix. [EXAMPLES [SEEDS [RULE
 * ...]]]}: the relative error {@code ||F - exact|| / ||exact||} over all parameters of every label
 * rule on a trained model, and the time that it takes, each the mean over seeds. DATA holds
 * pixel_values, labels and zeroshot_weights.
 */
public final class EstimatorReport {
  private static final int BATCH = 32;
  private static final List<String> RULES =
      List.of(
          "batch-square",
          "argmax",
          "true",
          "sampled:1",
          "sampled:4",
          "rademacher:1",
          "rademacher:4",
          "top:1",
          "top:3",
          "lowrank:1",
          "lowrank:3",
          "lowrank:7",
          "adaptive:2",
          "adaptive:4",
          "adaptive:8");

  private EstimatorReport() {}

  /** Examples of the data, chosen by a seeded shuffle. */
  private record Examples(MemorySegment pixels, long bytesEach, long[] labels) {
    int count() {
      return labels.length;
    }

    MemorySegment pixels(int first, int count) {
      return pixels.asSlice(first * bytesEach, count * bytesEach);
    }
  }

  private record Estimate(Map<String, float[]> sums, double probes, double seconds) {}

  /** Prints the report. */
  public static void main(String[] args) {
    if (args.length < 3) {
      System.err.println(
          "usage: benchmarks/run estimators MODEL CLIP DATA.safetensors#prefix. [EXAMPLES [SEEDS"
              + " [RULE ...]]]");
      System.exit(2);
    }
    int wanted = args.length > 3 ? Integer.parseInt(args[3]) : 256;
    int seeds = args.length > 4 ? Integer.parseInt(args[4]) : 5;
    List<String> rules = args.length > 5 ? List.of(args).subList(5, args.length) : RULES;
    Report report = new Report();
    TensorSelector data = TensorSelector.parse(args[2]);
    try (Arena arena = Arena.ofShared();
        Kernels kernels = Kernels.open();
        Checkpoint model = Checkpoint.open(Path.of(args[0]));
        Checkpoint clip = Checkpoint.open(Path.of(args[1]));
        Checkpoint tensors = Checkpoint.open(data.file());
        TensorExamples stored = TensorExamples.open(data, List.of("pixel_values"));
        ClipVisionTower tower = ClipVisionTower.load(model);
        ZeroShotHead head = head(clip, tensors, data)) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      Examples examples = examples(stored, wanted, arena);
      Estimate exact = estimate(classifier, new LabelRule.Exact(), 0, examples, kernels);
      report.line(
          "%s: %d classes, %d examples, %d seeds",
          args[2], classifier.classCount(), examples.count(), seeds);
      report.line("%-14s %8s %8s %10s", "labels", "passes", "error", "of exact's time");
      report.line("%-14s %8.2f %7.2f%% %9.3f", "exact", exact.probes(), 0.0, 1.0);
      for (String rule : rules) {
        // The same for every seed, and not timed.
        Objective labels = calibrated(Objective.parse(rule), classifier, examples);
        double error = 0;
        double probes = 0;
        double seconds = 0;
        for (int seed = 0; seed < seeds; seed++) {
          Estimate estimate = estimate(classifier, labels, seed, examples, kernels);
          error += relativeError(estimate.sums(), exact.sums()) / seeds;
          probes += estimate.probes() / seeds;
          seconds += estimate.seconds() / seeds;
        }
        report.line(
            "%-14s %8.2f %7.2f%% %9.3f", rule, probes, 100 * error, seconds / exact.seconds());
        report.ratio(rule.replace(':', '_').replace('-', '_') + "_error", error);
      }
    }
    report.finish();
  }

  private static ZeroShotHead head(Checkpoint clip, Checkpoint tensors, TensorSelector data) {
    float[] rows = tensors.floats(data.prefix() + "zeroshot_weights");
    long classes = tensors.tensor(data.prefix() + "zeroshot_weights").info().shape().get(0);
    return ZeroShotHead.of(clip, rows, Math.toIntExact(classes), data.file().toString());
  }

  private static Examples examples(TensorExamples stored, int wanted, Arena arena) {
    long[] rows = new Selection.Shuffled(wanted, 1).rows(stored);
    long[] labels = stored.labels(rows);
    if (labels == null) {
      throw new InputException(stored.description() + ": has no labels; the rule true needs them");
    }
    MemorySegment pixels = stored.rows(0, rows, arena);
    return new Examples(pixels, pixels.byteSize() / rows.length, labels);
  }

  private static Objective calibrated(
      Objective rule, NetworkClassifier<Pixels> classifier, Examples examples) {
    int count = Math.min(rule.calibrationExamples(), examples.count());
    if (count == 0) {
      return rule;
    }
    try (ForwardPass pass = classifier.forward(new Pixels(examples.pixels(0, count), count))) {
      return rule.calibrated(pass.predictions());
    }
  }

  private static Estimate estimate(
      NetworkClassifier<Pixels> classifier,
      Objective labels,
      long seed,
      Examples examples,
      Kernels kernels) {
    long start = System.nanoTime();
    try (FisherEstimator estimator = new FisherEstimator(classifier, labels, seed, kernels)) {
      for (int first = 0; first < examples.count(); first += BATCH) {
        int count = Math.min(BATCH, examples.count() - first);
        try (ForwardPass pass =
            classifier.forward(new Pixels(examples.pixels(first, count), count))) {
          long[] truth = new long[count];
          System.arraycopy(examples.labels(), first, truth, 0, count);
          estimator.add(pass, truth);
        }
      }
      Map<String, float[]> sums = new HashMap<>();
      estimator
          .finish()
          .forEach((name, sum) -> sums.put(name, sum.toArray(ValueLayout.JAVA_FLOAT)));
      return new Estimate(
          sums, (double) estimator.probes() / examples.count(), (System.nanoTime() - start) / 1e9);
    }
  }

  private static double relativeError(Map<String, float[]> estimate, Map<String, float[]> exact) {
    double difference = 0;
    double norm = 0;
    for (Map.Entry<String, float[]> entry : exact.entrySet()) {
      float[] expected = entry.getValue();
      float[] actual = Objects.requireNonNull(estimate.get(entry.getKey()));
      for (int j = 0; j < expected.length; j++) {
        double d = (double) actual[j] - expected[j];
        difference += d * d;
        norm += (double) expected[j] * expected[j];
      }
    }
    return Math.sqrt(difference / norm);
  }
}
