package org.fishermerge.torch.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class ProbesTest {
  private static final int CLASSES = 2;
  private @Nullable PointerScope scope;

  @BeforeEach
  void open() {
    scope = new PointerScope();
  }

  @AfterEach
  void close() {
    Objects.requireNonNull(scope).close();
  }

  private static Tensor cotangents(double... firstEntries) {
    double[] values = new double[firstEntries.length * CLASSES];
    for (int i = 0; i < firstEntries.length; i++) {
      values[i * CLASSES] = firstEntries[i];
      values[i * CLASSES + 1] = -firstEntries[i];
    }
    return Tensors.copyOf(values, 2, firstEntries.length / 2, CLASSES);
  }

  /** 1e-7 squared is 1e-14 of its example's squares, below 2^-40; 1e-5 squared is above. */
  @Test
  void whatVanishesInTheSumIsLeftOutWhereverItStands() {
    Probes probes = Probes.of(cotangents(1e-7, 1, 0.5, /**/ 1, 1e-5, 0), false);
    assertThat(probes.counts()).containsExactly(2, 2);
    Probes.Group all = probes.group(0, 2, null);
    assertThat(Tensors.floats(all.cotangents()))
        .containsExactly(1, -1, 1, -1, /**/ 0.5f, -0.5f, 1e-5f, -1e-5f);
    assertThat(Tensors.floats(all.weights())).containsExactly(1, 1, 1, 1);
  }

  @Test
  void anExampleOfZerosHasNoProbe() {
    assertThat(Probes.of(cotangents(0, 0, 0, 1), true).counts()).containsExactly(0, 1);
  }

  @Test
  void zerosStandForProbesThatAnExampleLacks() {
    Probes probes = Probes.of(cotangents(0.25, 0, /**/ 1, 0.5), true);
    assertThat(probes.counts()).containsExactly(1, 2);
    Probes.Group second = probes.group(1, 2, null);
    assertThat(Tensors.floats(second.cotangents()))
        .containsExactly(new float[] {0, 0, 1, -1}, within(0f));
    assertThat(Tensors.floats(second.weights())).containsExactly(0, 0.25f);
    Probes.Group ofLast = probes.group(0, 2, Tensors.copyOf(new int[] {1}));
    assertThat(ofLast.cotangents().sizes().vec().get()).containsExactly(2, 1, CLASSES);
    assertThat(Tensors.floats(ofLast.weights())).containsExactly(1, 0.25f);
  }

  /** As token labels have them: a label for each of two tokens, over three classes. */
  @Test
  void logitsMayHaveMoreDimensions() {
    double[] values = {1, 0, 0, 0, 0.5, 0.25, 0, 0, 2, 0, 0, 0};
    Probes probes = Probes.of(Tensors.copyOf(values, 2, 1, 2, 3), false);
    assertThat(probes.counts()).containsExactly(1, 1);
    Tensor cotangents = probes.group(0, 1, null).cotangents();
    assertThat(cotangents.sizes().vec().get()).containsExactly(1, 2, 2, 3);
    assertThat(Tensors.floats(cotangents))
        .containsExactly(1, 0, 0, 0, 0.5f, 0.25f, 0, 0, 2, 0, 0, 0);
  }

  /** The weight undoes the scale exactly, also where the square of the entry underflows fp32. */
  @Test
  void weightsUndoTheScale() {
    double[] entries = {0x1.8p-30, 0x1.2p-59, 0x1p-70, 0x1.8p2};
    Probes probes = Probes.of(cotangents(entries[0], 0, entries[1], 0), true);
    Probes others = Probes.of(cotangents(entries[2], 0, entries[3], 0), true);
    assertThat(Tensors.floats(probes.group(0, 1, null).cotangents()))
        .containsExactly(1.5f, -1.5f, 1.125f, -1.125f);
    assertThat(Tensors.floats(probes.group(0, 1, null).weights()))
        .containsExactly(0x1p-60f, 0x1p-118f);
    // Scales go down to 2^-60, whose square is a normal fp32 number.
    assertThat(Tensors.floats(others.group(0, 1, null).cotangents()))
        .containsExactly(0x1p-10f, -0x1p-10f, 1.5f, -1.5f);
    assertThat(Tensors.floats(others.group(0, 1, null).weights())).containsExactly(0x1p-120f, 16f);
  }
}
