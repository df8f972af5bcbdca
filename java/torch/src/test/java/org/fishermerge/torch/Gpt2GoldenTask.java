package org.fishermerge.torch;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.objective.Objective;

/** One golden GPT-2 task: its model, data and expected values. */
record Gpt2GoldenTask(String name) {
  static final List<String> NAMES = List.of("cola", "mnli");
  static final int TOKENS = 12;

  /** Open as long as the tests run: reading its header takes longer than a tiny estimate. */
  private static final Checkpoint EXPECTED =
      Checkpoint.open(Golden.path("gpt2-tiny/expected.safetensors"));

  float[] logits() {
    return EXPECTED.floats(name + ".logits");
  }

  private long[] longs(String tensor) {
    return EXPECTED.segment(name + "." + tensor).toArray(ValueLayout.JAVA_LONG_UNALIGNED);
  }

  long[] labels() {
    return longs("labels");
  }

  /** The texts as stored, padded on the right to {@link #TOKENS}. */
  List<long[]> padded() {
    long[] ids = longs("input_ids");
    List<long[]> texts = new ArrayList<>();
    for (int first = 0; first < ids.length; first += TOKENS) {
      texts.add(Arrays.copyOfRange(ids, first, first + TOKENS));
    }
    return texts;
  }

  /** The texts without padding, by the mask. */
  List<long[]> texts() {
    long[] mask = longs("attention_mask");
    List<long[]> texts = padded();
    for (int b = 0; b < texts.size(); b++) {
      long[] ofText = Arrays.copyOfRange(mask, b * TOKENS, (b + 1) * TOKENS);
      texts.set(b, Arrays.copyOf(texts.get(b), Math.toIntExact(Arrays.stream(ofText).sum())));
    }
    return texts;
  }

  /** Expected Fisher by canonical name. */
  Map<String, float[]> fisher(String definition) {
    String prefix = name + ".fisher." + definition + ".";
    Map<String, float[]> byName = new TreeMap<>();
    for (String tensor : EXPECTED.tensors().keySet()) {
      if (tensor.startsWith(prefix)) {
        byName.put(
            ParameterNames.canonical(tensor.substring(prefix.length())), EXPECTED.floats(tensor));
      }
    }
    return byName;
  }

  TextClassifier classifier() {
    try (Checkpoint model = Checkpoint.open(Golden.path("gpt2-tiny/" + name))) {
      return Architectures.text(model).orElseThrow().load(model);
    }
  }

  /**
   * Our Fisher, as the mean over examples, by canonical name.
   *
   * @param batches which texts run together, and in how many columns beyond the longest
   */
  Map<String, float[]> estimate(
      Objective labels, List<List<Integer>> batches, int extraColumns, Kernels kernels) {
    List<long[]> texts = texts();
    long[] truth = labels();
    Map<String, float[]> byName = new TreeMap<>();
    try (TextClassifier classifier = classifier();
        FisherEstimator estimator = new FisherEstimator(classifier, labels, 0, kernels)) {
      for (List<Integer> batch : batches) {
        TokenBatch tight = TokenBatch.of(batch.stream().map(texts::get).toList());
        TokenBatch tokens = new TokenBatch(tight.texts(), tight.width() + extraColumns);
        try (ForwardPass pass = classifier.forward(tokens)) {
          estimator.add(pass, batch.stream().mapToLong(b -> truth[b]).toArray());
        }
      }
      estimator
          .finish()
          .forEach((parameter, sum) -> {
            float[] mean = sum.toArray(ValueLayout.JAVA_FLOAT);
            for (int j = 0; j < mean.length; j++) {
              mean[j] /= truth.length;
            }
            byName.put(parameter, mean);
          });
    }
    return byName;
  }

  /** Texts in their order, so many at a time. */
  static List<List<Integer>> inOrder(int batchSize) {
    List<List<Integer>> batches = new ArrayList<>();
    for (int first = 0; first < 6; first += batchSize) {
      List<Integer> batch = new ArrayList<>();
      for (int b = first; b < Math.min(6, first + batchSize); b++) {
        batch.add(b);
      }
      batches.add(batch);
    }
    return batches;
  }
}
