package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.GradientSum;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Plain gradients, divergences and blended weights, of pictures and of texts of several lengths.
 */
final class WeightBlendTest {
  /** A network with examples, whatever they are. */
  private record Subject(
      Network<?> network, Function<int[], ForwardPass> forward, int examples, int classes) {
    ForwardPass all() {
      return forward.apply(IntStream.range(0, examples).toArray());
    }
  }

  @FunctionalInterface
  private interface Work {
    void on(Subject subject);
  }

  private static void with(String pool, String task, Work work) {
    if (pool.equals("clip-tiny")) {
      withPictures(new GoldenTask(task), work);
    } else {
      Gpt2GoldenTask texts = new Gpt2GoldenTask(task);
      try (TextClassifier classifier = texts.classifier()) {
        work.on(
            new Subject(
                classifier.backbone(),
                rows ->
                    classifier.forward(
                        TokenBatch.of(Arrays.stream(rows).mapToObj(texts.texts()::get).toList())),
                texts.labels().length,
                classifier.classCount()));
      }
    }
  }

  private static void withPictures(GoldenTask task, Work work) {
    float[] pixels = task.values("pixel_values");
    try (Arena arena = Arena.ofConfined();
        ClipVisionTower tower = task.tower();
        ZeroShotHead head = task.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      work.on(
          new Subject(
              tower.network(),
              rows -> {
                MemorySegment some =
                    arena.allocate((long) rows.length * GoldenTask.PIXELS * Float.BYTES, 64);
                for (int i = 0; i < rows.length; i++) {
                  MemorySegment.copy(
                      MemorySegment.ofArray(pixels),
                      (long) rows[i] * GoldenTask.PIXELS * Float.BYTES,
                      some,
                      (long) i * GoldenTask.PIXELS * Float.BYTES,
                      (long) GoldenTask.PIXELS * Float.BYTES);
                }
                return classifier.forward(new Pixels(some, rows.length));
              },
              task.labels().length,
              task.classes()));
    }
  }

  private static Kernels kernels() {
    return Kernels.open(KernelOptions.fromSystemProperties().withThreads(2));
  }

  private static List<ParameterGroup> groups(Network<?> network) {
    return network.weights().stream().map(Weights.Parameter::group).toList();
  }

  /**
   * KL from a certain label is the negative log-likelihood: squares of its gradients, example by
   * example, are the empirical Fisher, of which there are float64 vectors.
   */
  @ParameterizedTest
  @CsvSource({
    "clip-tiny, alpha",
    "clip-tiny, beta",
    "clip-tiny, gamma",
    "gpt2-tiny, cola",
    "gpt2-tiny, mnli"
  })
  void gradientsOfCertainLabelsAreTheReferences(String pool, String task) {
    boolean pictures = pool.equals("clip-tiny");
    long[] labels = pictures ? new GoldenTask(task).labels() : new Gpt2GoldenTask(task).labels();
    Map<String, float[]> expected =
        pictures
            ? new GoldenTask(task).fisher("empirical")
            : new Gpt2GoldenTask(task).fisher("empirical");
    Map<String, float[]> squares = new TreeMap<>();
    with(
        pool,
        task,
        subject -> {
          try (GradientSum gradient = new GradientSum(groups(subject.network))) {
            for (int b = 0; b < subject.examples; b++) {
              gradient.clear();
              double[] certain = new double[subject.classes];
              certain[(int) labels[b]] = 1;
              try (ForwardPass pass = subject.forward.apply(new int[] {b})) {
                double[] p = Divergence.predictions(pass, row -> row).getFirst();
                double[] loss = Divergence.pullBack(pass, certain, 1, gradient);
                assertThat(loss[0]).isCloseTo(-Math.log(p[(int) labels[b]]), within(1e-9));
              }
              add(groups(subject.network), gradient, squares, subject.examples);
            }
          }
        });
    assertThat(GoldenTask.differences(squares, expected, 2e-4)).isEmpty();
  }

  private static void add(
      List<ParameterGroup> groups,
      GradientSum gradient,
      Map<String, float[]> squares,
      int examples) {
    for (ParameterGroup group : groups) {
      float[] values = Tensors.floats(gradient.of(group));
      int at = 0;
      for (ParameterGroup.Member member : group.parameters()) {
        int count = Math.toIntExact(member.elementCount());
        float[] sum = squares.computeIfAbsent(member.name(), any -> new float[count]);
        for (int j = 0; j < count; j++) {
          sum[j] += values[at + j] * values[at + j] / examples;
        }
        at += count;
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 7})
  void divergenceIsItsDefinition(int classes) {
    Random random = new Random(classes);
    with(
        "clip-tiny",
        "beta",
        subject -> {
          double[] targets = random(subject, random);
          try (ForwardPass pass = subject.all()) {
            double[] q =
                Divergence.predictions(pass, row -> row).stream()
                    .flatMapToDouble(Arrays::stream)
                    .toArray();
            double[] divergences = Divergence.of(pass, targets);
            for (int b = 0; b < subject.examples; b++) {
              double sum = 0;
              for (int k = b * subject.classes; k < (b + 1) * subject.classes; k++) {
                sum += targets[k] == 0 ? 0 : targets[k] * (Math.log(targets[k]) - Math.log(q[k]));
              }
              assertThat(divergences[b])
                  .as("example %d, seed %d", b, classes)
                  .isCloseTo(sum, within(1e-12 + 1e-9 * sum));
            }
            assertThat(Divergence.of(pass, q)).containsOnly(new double[] {0}, within(1e-12));
          }
        });
  }

  /** Of each example; the first class of every second one has no probability. */
  private static double[] random(Subject subject, Random random) {
    double[] targets = new double[subject.examples * subject.classes];
    for (int b = 0; b < subject.examples; b++) {
      double sum = 0;
      for (int k = 0; k < subject.classes; k++) {
        double value = b % 2 == 0 && k == 0 ? 0 : -Math.log(random.nextDouble());
        targets[b * subject.classes + k] = value;
        sum += value;
      }
      for (int k = 0; k < subject.classes; k++) {
        targets[b * subject.classes + k] /= sum;
      }
    }
    return targets;
  }

  private static double mean(Subject subject, double[] targets) {
    try (ForwardPass pass = subject.all()) {
      return Arrays.stream(Divergence.of(pass, targets)).average().orElseThrow();
    }
  }

  /**
   * The derivative by each of the largest coefficients is the slope of the divergence, measured by
   * stepping to both sides.
   */
  @ParameterizedTest
  @CsvSource({"clip-tiny, beta, alpha gamma", "gpt2-tiny, mnli, cola mnli"})
  void derivativesAreSlopes(String pool, String task, String directions) {
    Random random = new Random(5);
    List<Checkpoint> opened = new ArrayList<>();
    try (Kernels kernels = kernels();
        Checkpoint base = Checkpoint.open(Golden.path(pool + "/pretrained"))) {
      for (String direction : directions.split(" ", -1)) {
        opened.add(Checkpoint.open(Golden.path(pool + "/" + direction)));
      }
      with(
          pool,
          task,
          subject -> {
            WeightBlend blend = new WeightBlend(subject.network, base, opened, kernels);
            double[] targets = random(subject, random);
            double[][] c = new double[blend.names().size()][opened.size()];
            for (double[] ofParameter : c) {
              Arrays.setAll(ofParameter, k -> 0.3 + random.nextDouble());
            }
            blend.set(c);
            double[][] derivative;
            try (GradientSum gradient = new GradientSum(groups(subject.network));
                ForwardPass pass = subject.all()) {
              Divergence.pullBack(pass, targets, 1.0 / subject.examples, gradient);
              derivative = blend.derivative(gradient);
            }
            double largest =
                Arrays.stream(derivative)
                    .flatMapToDouble(Arrays::stream)
                    .map(Math::abs)
                    .max()
                    .orElseThrow();
            int steep = 0;
            double step = 0.05;
            for (int t = 0; t < c.length; t++) {
              for (int k = 0; k < opened.size(); k++) {
                if (Math.abs(derivative[t][k]) < 0.05 * largest) {
                  continue;
                }
                double[] both = new double[2];
                for (int side = 0; side < 2; side++) {
                  double before = c[t][k];
                  c[t][k] = before + (side == 0 ? step : -step);
                  blend.set(c);
                  both[side] = mean(subject, targets);
                  c[t][k] = before;
                }
                assertThat(derivative[t][k])
                    .as("%s, direction %d, seed 5", blend.names().get(t), k)
                    .isCloseTo((both[0] - both[1]) / (2 * step), within(0.02 * largest));
                steep++;
              }
            }
            assertThat(steep).isGreaterThan(8);
          });
    } finally {
      opened.forEach(Checkpoint::close);
    }
  }

  /** Against the formula in double, also where models have no share at all. */
  @ParameterizedTest
  @ValueSource(strings = {"1 0", "0 0", "0.25 -0.5", "1.3 0.9"})
  void weightsAreTheSum(String coefficients) {
    double[] c =
        Arrays.stream(coefficients.split(" ", -1)).mapToDouble(Double::parseDouble).toArray();
    try (Kernels kernels = kernels();
        Checkpoint base = Checkpoint.open(Golden.path("clip-tiny/pretrained"));
        Checkpoint alpha = Checkpoint.open(Golden.path("clip-tiny/alpha"));
        Checkpoint gamma = Checkpoint.open(Golden.path("clip-tiny/gamma"))) {
      with(
          "clip-tiny",
          "beta",
          subject -> {
            WeightBlend blend =
                new WeightBlend(subject.network, base, List.of(alpha, gamma), kernels);
            double[][] all = new double[blend.names().size()][];
            Arrays.fill(all, c);
            blend.set(all);
            int compared = 0;
            for (Weights.Parameter parameter : subject.network.weights()) {
              float[] values = Tensors.floats(parameter.tensor());
              int at = 0;
              for (ParameterGroup.Member member : parameter.group().parameters()) {
                float[] b = base.floats(member.name());
                float[] x = alpha.floats(member.name());
                float[] y = gamma.floats(member.name());
                for (int j = 0; j < b.length; j++) {
                  double sum = b[j] + c[0] * (x[j] - (double) b[j]) + c[1] * (y[j] - (double) b[j]);
                  assertThat(values[at + j]).isCloseTo((float) sum, within(1e-6f));
                }
                at += b.length;
                compared++;
              }
            }
            assertThat(compared).isEqualTo(blend.names().size());
          });
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2-tiny/cola"})
  void refusesModelsWithoutTheParameters(String other) {
    try (Kernels kernels = kernels();
        Checkpoint base = Checkpoint.open(Golden.path("clip-tiny/pretrained"));
        Checkpoint wrong = Checkpoint.open(Golden.path(other))) {
      with(
          "clip-tiny",
          "beta",
          subject ->
              assertThatThrownBy(
                      () -> new WeightBlend(subject.network, base, List.of(wrong), kernels))
                  .isInstanceOf(InputException.class)
                  .hasMessageContaining(other));
    }
  }
}
