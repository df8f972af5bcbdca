package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.objective.Objective;

/**
 * {@code benchmarks/run gpt2}: the exact Fisher of a GPT-2 classifier on texts of about the lengths
 * that GLUE has, padded to 512 tokens as FusionBench does, and with padding dropped and batches cut
 * by length as the fisher command does. Both sides run the same code; the padded one computes all
 * 512 columns of each text.
 */
public final class Gpt2Report {
  private static final int PADDED = 512;
  private static final int BATCH = 8;
  // Faster for the padded side than 1, 4 or 8: larger tensors are mapped anew each time.
  private static final int PADDED_BATCH = 2;
  // Log-normal lengths of mean 40: GLUE's tasks have means of 11 (CoLA) to 65 (RTE) tokens.
  private static final double MEAN_LENGTH = 40;
  private static final double SPREAD = 0.5;
  // A batch of 8 runs in other matrix shapes at 512 columns; fp32 rounds otherwise.
  private static final double SAME = 1e-3;

  private Gpt2Report() {}

  /** Prints the report; {@code --quick} takes one batch. */
  public static void main(String[] args) throws IOException {
    try (ScratchFolder folder = new ScratchFolder()) {
      report(folder.path(), ReportOptions.of(args).quick());
    } catch (InputException e) {
      System.err.println("benchmarks/run gpt2: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void report(Path folder, boolean quick) throws IOException {
    Gpt2Shape shape = Gpt2Shape.SMALL;
    int examples = quick ? BATCH : 4 * BATCH;
    List<long[]> texts = texts(examples, shape.vocabulary(), 1);
    List<TokenBatch> trimmed = batches(texts);
    List<TokenBatch> padded = new ArrayList<>();
    for (int first = 0; first < examples; first += PADDED_BATCH) {
      padded.add(new TokenBatch(texts.subList(first, first + PADDED_BATCH), PADDED));
    }
    Report report = new Report();
    try (Kernels kernels = Kernels.open();
        Checkpoint checkpoint = Checkpoint.open(shape.write(folder, 1));
        TextClassifier classifier = Architectures.text(checkpoint).orElseThrow().load(checkpoint);
        FisherEstimator ofPadded = estimator(classifier, kernels);
        FisherEstimator ofTrimmed = estimator(classifier, kernels)) {
      report.line("%s", kernels.info());
      // Memory is touched for the first time here.
      run(classifier, trimmed, ofPadded);
      run(classifier, trimmed, ofTrimmed);
      double[] best = {Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY};
      for (int round = 0; round < (quick ? 1 : 2); round++) {
        best[0] = Math.min(best[0], seconds(() -> run(classifier, padded, ofPadded)));
        best[1] = Math.min(best[1], seconds(() -> run(classifier, trimmed, ofTrimmed)));
      }
      report.line(
          "%n%-46s %10s %12s %8s",
          "exact Fisher, %s, %d texts, at most %d at once".formatted(shape.name(), examples, BATCH),
          "columns",
          "s/example",
          "ratio");
      line(report, "padded to " + PADDED, padded, examples, best[0], best[1]);
      line(report, "padding dropped, by length", trimmed, examples, best[1], best[1]);
      report.line(
          "%.1f tokens on average; the two Fishers differ by %.1g at most, relative to a tensor's"
              + " largest value",
          trimmed.stream()
              .flatMap(b -> b.texts().stream())
              .mapToInt(t -> t.length)
              .average()
              .orElseThrow(),
          requireSame(ofPadded.finish(), ofTrimmed.finish()));
      report.ratio("gpt2_padded_over_trimmed", best[0] / best[1]);
    }
    report.finish();
  }

  private static double seconds(Runnable work) {
    long start = System.nanoTime();
    work.run();
    return (System.nanoTime() - start) / 1e9;
  }

  private static FisherEstimator estimator(TextClassifier classifier, Kernels kernels) {
    return new FisherEstimator(classifier, Objective.parse("exact"), 0, kernels);
  }

  /** Random tokens, seeded; the longest text first. */
  private static List<long[]> texts(int count, int vocabulary, long seed) {
    Random random = new Random(seed);
    double location = Math.log(MEAN_LENGTH) - SPREAD * SPREAD / 2;
    List<long[]> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      double length = Math.exp(location + SPREAD * random.nextGaussian());
      long[] text = new long[Math.clamp(Math.round(length), 4, PADDED)];
      for (int t = 0; t < text.length; t++) {
        text[t] = random.nextInt(vocabulary - 1);
      }
      texts.add(text);
    }
    texts.sort(Comparator.comparingInt((long[] text) -> -text.length));
    return texts;
  }

  private static List<TokenBatch> batches(List<long[]> texts) {
    List<TokenBatch> batches = new ArrayList<>();
    int first = 0;
    for (int size : TokenBatch.cut(texts.stream().mapToInt(text -> text.length).toArray(), BATCH)) {
      batches.add(TokenBatch.of(texts.subList(first, first + size)));
      first += size;
    }
    return batches;
  }

  private static void run(
      TextClassifier classifier, List<TokenBatch> batches, FisherEstimator estimator) {
    for (TokenBatch batch : batches) {
      try (ForwardPass pass = classifier.forward(batch)) {
        estimator.add(pass, null);
      }
    }
  }

  private static void line(
      Report report, String name, List<TokenBatch> batches, int examples, double time, double of) {
    int columns = batches.stream().mapToInt(batch -> batch.examples() * batch.width()).sum();
    report.line("%-46s %10d %12.4f %8.2f", name, columns, time / examples, time / of);
  }

  /** The largest difference; a wrong computation that is fast is no result. */
  private static double requireSame(
      Map<String, MemorySegment> padded, Map<String, MemorySegment> trimmed) {
    double largest = 0;
    double ofAll = padded.values().stream().mapToDouble(Gpt2Report::largest).max().orElseThrow();
    for (Map.Entry<String, MemorySegment> tensor : padded.entrySet()) {
      MemorySegment left = tensor.getValue();
      MemorySegment right = java.util.Objects.requireNonNull(trimmed.get(tensor.getKey()));
      double scale = Math.max(largest(left), 1e-9 * ofAll);
      for (long j = 0; j < left.byteSize() / Float.BYTES; j++) {
        double difference =
            Math.abs(
                (double) left.getAtIndex(ValueLayout.JAVA_FLOAT, j)
                    - right.getAtIndex(ValueLayout.JAVA_FLOAT, j));
        largest = Math.max(largest, difference / scale);
      }
    }
    if (!(largest <= SAME)) {
      throw new IllegalStateException("the two Fishers differ by " + largest);
    }
    return largest;
  }

  private static double largest(MemorySegment values) {
    double largest = 0;
    for (long j = 0; j < values.byteSize() / Float.BYTES; j++) {
      largest = Math.max(largest, values.getAtIndex(ValueLayout.JAVA_FLOAT, j));
    }
    return largest;
  }
}
