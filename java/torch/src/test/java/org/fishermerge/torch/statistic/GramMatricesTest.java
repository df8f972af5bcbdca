package org.fishermerge.torch.statistic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Gram matrices of inputs that are shown by hand, against sums in double. */
final class GramMatricesTest {
  /** Two matrices [2, I] and [3, I] that share an input. */
  private static ParameterGroup stacked(int inputs) {
    return new ParameterGroup(
        new ParameterGroup.Member("q.weight", List.of(2L, (long) inputs)),
        new ParameterGroup.Member("k.weight", List.of(3L, (long) inputs)));
  }

  private static float[] random(int count, long seed) {
    float[] values = new float[count];
    Random random = new Random(seed);
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static void show(
      LayerVisitor visitor, ParameterGroup group, float[] x, float @Nullable [] real, int... btn) {
    try (PointerScope scope = new PointerScope()) {
      Tensor ones = real == null ? null : Tensors.copyOf(real, btn[0], btn[1]);
      visitor.visit(
          new LayerVisit.Input(group, false, Tensors.copyOf(x, btn[0], btn[1], btn[2]), ones));
    }
  }

  private static GramMatrices of(ParameterGroup group, int inputs) {
    return new GramMatrices(
        LinearLayers.shown(
            List.of(group),
            visitor -> show(visitor, group, new float[inputs], null, 1, 1, inputs)));
  }

  private static float[] values(GramMatrices grams, String name) {
    MemorySegment sum = Objects.requireNonNull(grams.byName().get(name));
    return sum.toArray(ValueLayout.JAVA_FLOAT);
  }

  @Test
  void sumsOverRealTokensOnly() {
    LibTorch.initialize();
    int examples = 3;
    int width = 5;
    int inputs = 4;
    float[] x = random(examples * width * inputs, 1);
    float[] real = new float[examples * width];
    Arrays.fill(real, 1);
    real[0] = 0;
    real[1] = 0;
    real[width] = 0;
    double[] expected = new double[inputs * inputs];
    for (int t = 0; t < real.length; t++) {
      for (int i = 0; i < inputs; i++) {
        for (int j = 0; j < inputs; j++) {
          expected[i * inputs + j] += (double) real[t] * x[t * inputs + i] * x[t * inputs + j];
        }
      }
    }
    ParameterGroup group = stacked(inputs);
    ParameterGroup other = stacked(inputs);
    try (GramMatrices grams = of(group, inputs)) {
      show(grams, group, x, real, examples, width, inputs);
      show(grams, other, x, null, examples, width, inputs); // of another model
      for (String name : List.of("q.gram", "k.gram")) {
        float[] actual = values(grams, name);
        for (int i = 0; i < expected.length; i++) {
          assertThat((double) actual[i]).isCloseTo(expected[i], within(1e-5));
        }
      }
      assertThat(grams.byName()).hasSize(2);
      assertThat(grams.bytes()).isEqualTo(4L * inputs * inputs);
      assertThat(grams.tokens()).isEqualTo(Map.of("q.weight", 12L, "k.weight", 12L));
      // Nothing that is tried counts.
      float[] before = values(grams, "q.gram");
      grams.trial(() -> show(grams, group, x, real, examples, width, inputs));
      assertThat(values(grams, "q.gram")).isEqualTo(before);
      assertThat(grams.tokens()).containsEntry("q.weight", 12L);
    }
  }

  @Test
  void layersAreThoseThatAreShownAndStudied() {
    LibTorch.initialize();
    ParameterGroup group = stacked(4);
    LinearLayers layers =
        LinearLayers.shown(
            List.of(group),
            visitor -> {
              show(visitor, group, new float[4], null, 1, 1, 4);
              show(visitor, stacked(4), new float[4], null, 1, 1, 4);
            });
    assertThat(layers.shapes())
        .isEqualTo(
            Map.of(
                "q.weight", new LinearLayer(2, 4, false, 0),
                "k.weight", new LinearLayer(3, 4, false, 0)));
  }

  /** Of sizes at which libtorch's BLAS shares the work among its threads. */
  @Test
  void sameBitsForAnyThreadCount() {
    LibTorch.initialize();
    int inputs = 384;
    float[] x = random(8 * 50 * inputs, 2);
    ParameterGroup group = stacked(inputs);
    int before = torch.get_num_threads();
    List<float[]> sums = new ArrayList<>();
    try {
      for (int threads : new int[] {1, 2, 3, 5}) {
        torch.set_num_threads(threads);
        try (GramMatrices grams = of(group, inputs)) {
          show(grams, group, x, null, 8, 50, inputs);
          show(grams, group, x, null, 8, 50, inputs);
          sums.add(values(grams, "q.gram"));
        }
      }
    } finally {
      torch.set_num_threads(before);
    }
    assertThat(sums).allSatisfy(sum -> assertThat(sum).isEqualTo(sums.getFirst()));
  }
}
