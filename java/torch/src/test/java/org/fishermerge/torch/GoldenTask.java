package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.Logits;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Tensors;

/** One golden CLIP task: its model, data and expected values. */
record GoldenTask(String name) {
  static final List<String> NAMES = List.of("alpha", "beta", "gamma");
  static final int PIXELS = 3 * 32 * 32;

  /** Open as long as the tests run: reading its header takes longer than a tiny estimate. */
  private static final Checkpoint EXPECTED =
      Checkpoint.open(Golden.path("clip-tiny/expected.safetensors"));

  float[] values(String tensor) {
    return EXPECTED.floats(name + "." + tensor);
  }

  int classes() {
    return values("logits").length / labels().length;
  }

  long[] labels() {
    return EXPECTED
        .segment(name + ".labels")
        .toArray(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED);
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

  ClipVisionTower tower() {
    try (Checkpoint model = Checkpoint.open(Golden.path("clip-tiny/" + name))) {
      return ClipVisionTower.load(model);
    }
  }

  ZeroShotHead head() {
    try (Checkpoint clip = Checkpoint.open(Golden.path("clip-tiny/pretrained"))) {
      return ZeroShotHead.of(clip, values("zeroshot_weights"), classes(), name);
    }
  }

  private Objective calibrated(Objective labels) {
    int classes = classes();
    try (PointerScope scope = new PointerScope()) {
      Tensor logits = Tensors.copyOf(values("logits"), labels().length, classes);
      double[] p = Tensors.doubles(Logits.probabilities(logits));
      return labels.calibrated(
          IntStream.range(0, labels().length)
              .mapToObj(b -> Arrays.copyOfRange(p, b * classes, (b + 1) * classes))
              .toList());
    }
  }

  /** Our Fisher, as the mean over examples, by canonical name. */
  Map<String, float[]> estimate(Objective labels, int batchSize, long seed, Kernels kernels) {
    return estimate(labels, batchSize, seed, kernels, 0);
  }

  /** The same after a measurement of memory with so many examples; 0 for none. */
  Map<String, float[]> estimate(
      Objective labels, int batchSize, long seed, Kernels kernels, int measured) {
    try (ClipVisionTower tower = tower();
        ZeroShotHead head = head()) {
      return estimate(
          tower.under(head),
          labels,
          values("pixel_values"),
          labels(),
          batchSize,
          seed,
          kernels,
          measured);
    }
  }

  /**
   * Several estimates with the same model.
   *
   * @param estimates how many, each with a seed of its own
   * @param copies how often each has every example, which is as many independent draws for it
   * @param use is shown each estimate, the mean over examples, by canonical name
   */
  void estimates(
      Objective labels,
      int estimates,
      int copies,
      Kernels kernels,
      Consumer<? super Map<String, float[]>> use) {
    float[] pixels = values("pixel_values");
    long[] truth = labels();
    float[] allPixels = new float[copies * pixels.length];
    long[] allTruth = new long[copies * truth.length];
    for (int copy = 0; copy < copies; copy++) {
      System.arraycopy(pixels, 0, allPixels, copy * pixels.length, pixels.length);
      System.arraycopy(truth, 0, allTruth, copy * truth.length, truth.length);
    }
    try (ClipVisionTower tower = tower();
        ZeroShotHead head = head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      for (int seed = 0; seed < estimates; seed++) {
        use.accept(
            estimate(classifier, labels, allPixels, allTruth, allTruth.length, seed, kernels, 0));
      }
    }
  }

  private Map<String, float[]> estimate(
      NetworkClassifier<Pixels> classifier,
      Objective labels,
      float[] pixels,
      long[] truth,
      int batchSize,
      long seed,
      Kernels kernels,
      int measured) {
    Map<String, float[]> byName = new TreeMap<>();
    try (Arena arena = Arena.ofConfined();
        FisherEstimator estimator =
            new FisherEstimator(classifier, calibrated(labels), seed, kernels)) {
      MemorySegment all = arena.allocate((long) pixels.length * Float.BYTES, 64);
      all.copyFrom(MemorySegment.ofArray(pixels));
      if (measured > 0) {
        BatchMemory memory =
            estimator
                .measure(
                    count ->
                        wanted ->
                            classifier.forward(
                                new Pixels(
                                    all.asSlice(0, (long) count * PIXELS * Float.BYTES), count),
                                wanted),
                    measured)
                .orElseThrow();
        assertThat(memory.bytes(1)).as("bytes of an example").isPositive();
      }
      for (int first = 0; first < truth.length; first += batchSize) {
        int count = Math.min(batchSize, truth.length - first);
        MemorySegment batch =
            all.asSlice((long) first * PIXELS * Float.BYTES, (long) count * PIXELS * Float.BYTES);
        try (ForwardPass pass = classifier.forward(new Pixels(batch, count))) {
          estimator.add(pass, Arrays.copyOfRange(truth, first, first + count));
        }
      }
      estimator
          .finish()
          .forEach((parameter, sum) -> {
            float[] mean = sum.toArray(java.lang.foreign.ValueLayout.JAVA_FLOAT);
            for (int j = 0; j < mean.length; j++) {
              mean[j] /= truth.length;
            }
            byName.put(parameter, mean);
          });
    }
    return byName;
  }

  /**
   * What differs by more than {@code tolerance} times the tensor's largest value, that value
   * floored at 1e-9 of the largest of all tensors: the gradient of a key bias is exactly zero, so
   * what any arithmetic finds there is noise.
   */
  static List<String> differences(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    List<String> problems = new ArrayList<>();
    if (!actual.keySet().equals(expected.keySet())) {
      problems.add("parameters " + actual.keySet() + " instead of " + expected.keySet());
      return problems;
    }
    double largest = expected.values().stream().mapToDouble(GoldenTask::max).max().orElseThrow();
    expected.forEach((name, values) -> {
      double bound = tolerance * Math.max(max(values), 1e-9 * largest);
      float[] ours = Objects.requireNonNull(actual.get(name));
      if (ours.length != values.length) {
        problems.add(name + " has " + ours.length + " values, not " + values.length);
        return;
      }
      for (int j = 0; j < values.length; j++) {
        if (!(Math.abs(ours[j] - values[j]) <= bound)) {
          problems.add(
              name + "[" + j + "] is " + ours[j] + ", expected " + values[j] + " +- " + bound);
          return;
        }
      }
    });
    return problems;
  }

  private static double max(float[] values) {
    double max = 0;
    for (float value : values) {
      max = Math.max(max, Math.abs(value));
    }
    return max;
  }
}
