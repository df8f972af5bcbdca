package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.Objective;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The estimator on the CUDA kernels' own source, run on an emulated device, against float64
 * autograd. The tensors are libtorch's of the CPU, whose memory is the emulated device's too.
 */
final class CudaGoldenTest {
  private static Kernels kernels;

  @BeforeAll
  static void open() {
    // libtorch frees its tensors in the order of a stream that does not exist here.
    System.setProperty(KernelOptions.CUDA_SYNCHRONOUS, "true");
    kernels = Kernels.open(new KernelOptions("cuda", "auto", Optional.of("cuda"), 1));
    assertThat(kernels.info().isa()).isEqualTo("sm_90, fp32, emulated device");
  }

  @AfterAll
  static void close() {
    System.clearProperty(KernelOptions.CUDA_SYNCHRONOUS);
    kernels.close();
  }

  /** Batch squares depend on the batch size; the reference has 4. */
  static Stream<Arguments> definitions() {
    return Stream.of(
        Arguments.of("exact", 2),
        Arguments.of("exact", 4),
        Arguments.of("true", 2),
        Arguments.of("batch-square", 4));
  }

  private static String definition(String labels) {
    return switch (labels) {
      case "true" -> "empirical";
      case "batch-square" -> "batch_square";
      default -> labels;
    };
  }

  @ParameterizedTest
  @MethodSource("definitions")
  void clip(String labels, int batchSize) {
    GoldenTask task = new GoldenTask(GoldenTask.NAMES.getFirst());
    Map<String, float[]> actual = task.estimate(Objective.parse(labels), batchSize, 0, kernels);
    assertThat(GoldenTask.differences(actual, task.fisher(definition(labels)), 1e-4)).isEmpty();
  }

  /** The emulated device knows of the kernels' memory, and not of libtorch's. */
  @Test
  void measuringMemoryAddsNothing() {
    GoldenTask task = new GoldenTask(GoldenTask.NAMES.getFirst());
    Objective exact = Objective.parse("exact");
    Map<String, float[]> expected = task.estimate(exact, 2, 0, kernels);
    task.estimate(exact, 2, 0, kernels, 3)
        .forEach((name, values) -> assertThat(values).as(name).isEqualTo(expected.get(name)));
  }

  @ParameterizedTest
  @MethodSource("definitions")
  void gpt2(String labels, int batchSize) {
    Gpt2GoldenTask task = new Gpt2GoldenTask(Gpt2GoldenTask.NAMES.getFirst());
    Map<String, float[]> actual =
        task.estimate(Objective.parse(labels), Gpt2GoldenTask.inOrder(batchSize), 1, kernels);
    assertThat(GoldenTask.differences(actual, task.fisher(definition(labels)), 1e-4)).isEmpty();
  }

  /** What was saved comes back to where the kernels add to it. */
  @Test
  void goesOnFromWhatWasSaved(@TempDir Path folder) {
    GoldenTask task = new GoldenTask(GoldenTask.NAMES.getFirst());
    Objective rule = Objective.parse("sampled:3");
    Map<String, float[]> whole = task.estimate(rule, 2, 5, kernels);
    Path file = folder.resolve("progress");
    Map<String, float[]> resumed = new TreeMap<>();
    try (ClipVisionTower tower = task.tower();
        ZeroShotHead head = task.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      try (FisherEstimator first = new FisherEstimator(classifier, rule, 5, kernels)) {
        add(first, classifier, task, 0);
        first.save(file, "run", 2);
      }
      try (FisherEstimator second = new FisherEstimator(classifier, rule, 5, kernels)) {
        assertThat(second.resume(file, FisherProgress.read(file).orElseThrow())).isTrue();
        add(second, classifier, task, 2);
        add(second, classifier, task, 4);
        second
            .finish()
            .forEach((name, sum) -> resumed.put(name, sum.toArray(ValueLayout.JAVA_FLOAT)));
      }
    }
    assertThat(resumed.keySet()).isEqualTo(whole.keySet());
    whole.forEach((name, mean) -> {
      float[] sum = Objects.requireNonNull(resumed.get(name));
      for (int j = 0; j < sum.length; j++) {
        sum[j] /= task.labels().length;
      }
      assertThat(sum).as(name).isEqualTo(mean);
    });
  }

  /** Two examples. */
  private static void add(
      FisherEstimator estimator, NetworkClassifier<Pixels> classifier, GoldenTask task, int first) {
    float[] pixels = task.values("pixel_values");
    int each = pixels.length / task.labels().length;
    float[] batch = Arrays.copyOfRange(pixels, first * each, (first + 2) * each);
    try (ForwardPass pass = classifier.forward(new Pixels(MemorySegment.ofArray(batch), 2))) {
      estimator.add(pass, Arrays.copyOfRange(task.labels(), first, first + 2));
    }
  }
}
